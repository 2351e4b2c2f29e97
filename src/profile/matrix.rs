//! What is measured: every combination of the sizes, rates, threads, policies and viewers that the
//! configuration lists.

use serde::Deserialize;

use crate::pipeline::Policy;
use crate::source::options::Mode;

/// An image size: `848x480`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mode: Result<Mode, _> = format!("{text}@1").parse();
        let Mode { width, height, .. } = mode.map_err(|_| {
            format!("`{text}` is no size; one looks like 848x480, and goes from 1 to 4096 pixels")
        })?;
        Ok(Self { width, height })
    }
}

/// The lists of the configuration; an empty one leaves that setting as the run has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    pub sizes: Vec<Size>,
    pub rates_hz: Vec<f64>,
    pub threads: Vec<usize>,
    pub policies: Vec<Policy>,
    pub viewers: Vec<String>,
}

/// What a cell of the matrix changes; `None` is as the run has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    pub size: Option<Size>,
    pub rate_hz: Option<f64>,
    pub threads: Option<usize>,
    pub policy: Option<Policy>,
    pub viewer: Option<String>,
}

impl Matrix {
    /// All cells; the last list changes fastest.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![];
        for size in each(&self.sizes) {
            for rate_hz in each(&self.rates_hz) {
                for threads in each(&self.threads) {
                    for policy in each(&self.policies) {
                        for viewer in each(&self.viewers) {
                            cells.push(Cell { size, rate_hz, threads, policy, viewer });
                        }
                    }
                }
            }
        }
        cells
    }
}

/// One `None` for an empty list.
fn each<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_has_its_cell() {
        assert_eq!(Matrix::default().cells(), [Cell::default()]);
        let size = |width| Size { width, height: 480 };
        let matrix = Matrix {
            sizes: vec![size(640), size(848)],
            threads: vec![1, 2, 4],
            viewers: vec!["none".into(), "web".into()],
            ..Default::default()
        };
        let cells = matrix.cells();
        assert_eq!(cells.len(), 12);
        assert_eq!(cells[1].viewer.as_deref(), Some("web"));
        assert_eq!((cells[11].size, cells[11].threads), (Some(size(848)), Some(4)));
        for (i, cell) in cells.iter().enumerate() {
            assert!(!cells[..i].contains(cell) && cell.policy.is_none() && cell.rate_hz.is_none());
        }
    }
}
