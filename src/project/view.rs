//! Which part of the image and which depths are taken.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::ProjectError;
use super::bands::Rows;
use super::kernel::DepthScale;
use crate::camera::Intrinsics;
use crate::frame::DepthFrame;

/// A region of interest, in pixels: `x,y,WxH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Roi {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl fmt::Display for Roi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}x{}", self.x, self.y, self.width, self.height)
    }
}

impl FromStr for Roi {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (x, rest) = text.split_once(',')?;
            let (y, size) = rest.split_once(',')?;
            let (width, height) = size.split_once('x')?;
            let number = |text: &str| text.trim().parse().ok();
            Some(Self {
                x: number(x)?,
                y: number(y)?,
                width: number(width)?,
                height: number(height)?,
            })
        };
        match parsed() {
            Some(roi) if roi.width > 0 && roi.height > 0 => Ok(roi),
            Some(_) => Err(format!("`{text}` holds no pixel")),
            None => Err(format!(
                "`{text}` is no region; one looks like 100,50,640x380: left, top, size, in pixels"
            )),
        }
    }
}

impl TryFrom<String> for Roi {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The depths that are taken, in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthRange {
    pub min_m: f32,
    pub max_m: f32,
}

impl Default for DepthRange {
    /// All.
    fn default() -> Self {
        Self { min_m: 0.0, max_m: f32::INFINITY }
    }
}

impl DepthRange {
    /// The raw depths d with `min_m <= d * units_m <= max_m`, all in f32; `None` if there are none.
    pub(super) fn scale(&self, units_m: f32) -> Option<DepthScale> {
        // d * units_m never falls with d, so the border can be searched for.
        let first = |is_beyond: &dyn Fn(f32) -> bool| {
            let (mut low, mut high) = (0u32, 1 << 16);
            while low < high {
                let middle = low.midpoint(high);
                if is_beyond(middle as f32 * units_m) { high = middle } else { low = middle + 1 }
            }
            low
        };
        let low = first(&|z| z >= self.min_m);
        let end = first(&|z| z > self.max_m);
        DepthScale::new(units_m, u16::try_from(low).ok()?, u16::try_from(end.checked_sub(1)?).ok()?)
    }
}

/// The part of each image that is taken.
pub(super) struct View {
    pub width: u32,
    pub height: u32,
    x: u32,
    y: u32,
}

impl View {
    pub(super) fn new(camera: &Intrinsics, roi: Option<Roi>) -> Result<Self, ProjectError> {
        let Intrinsics { width, height, .. } = *camera;
        let Roi { x, y, width: w, height: h } = roi.unwrap_or(Roi { x: 0, y: 0, width, height });
        let fits = |from: u32, len: u32, all: u32| {
            len > 0 && from.checked_add(len).is_some_and(|end| end <= all)
        };
        match roi {
            Some(roi) if !(fits(x, w, width) && fits(y, h, height)) => {
                Err(ProjectError::Roi { roi, width, height })
            }
            _ => Ok(Self { width: w, height: h, x, y }),
        }
    }

    /// Its upper left pixel.
    pub(super) fn first_px(&self) -> [f32; 2] {
        [self.x as f32, self.y as f32]
    }

    pub(super) fn rows<'a>(&self, frame: &'a DepthFrame) -> Rows<'a> {
        let stride = frame.width as usize;
        Rows { depth: &frame.depth[self.y as usize * stride + self.x as usize..], stride }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_takes_just_the_depths_within() {
        for units_m in [0.001, 0.0001, 0.000_25, 0.01] {
            for (min_m, max_m) in
                [(0.0, f32::INFINITY), (0.3, 1.5), (1.0, 1.0), (0.0, 0.005), (6.5, 70.0)]
            {
                let range = DepthRange { min_m, max_m };
                let scale = range.scale(units_m);
                for d in 0..=u16::MAX {
                    let z = f32::from(d) * units_m;
                    let want = d > 0 && min_m <= z && z <= max_m;
                    assert_eq!(
                        scale.is_some_and(|s| s.counts(d)),
                        want,
                        "{d} in {range:?} with {units_m}"
                    );
                }
            }
        }
        assert_eq!(DepthRange { min_m: 100.0, max_m: 200.0 }.scale(0.001), None);
        assert_eq!(DepthRange { min_m: 0.0, max_m: 0.0 }.scale(0.001), None);
    }

    #[test]
    fn regions_are_written_as_they_are_read() {
        let roi = Roi { x: 100, y: 50, width: 640, height: 380 };
        assert_eq!("100,50,640x380".parse(), Ok(roi));
        assert_eq!(roi.to_string().parse(), Ok(roi));
        for bad in ["", "1,2,3", "1,2,0x3", "-1,2,3x4", "1,2,3x", "a,b,cxd"] {
            assert!(bad.parse::<Roi>().is_err(), "{bad}");
        }
    }
}
