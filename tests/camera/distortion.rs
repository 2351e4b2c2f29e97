//! Rays, pixels and moved points against what the linked librealsense computes.
#![cfg(feature = "realsense")]

use depthcast::camera::{Distortion, Extrinsics, Intrinsics};
use realsense_sys as sys;

/// Image sizes that all cameras here are scaled to.
const SIZES: [(u32, u32); 4] = [(1280, 800), (848, 480), (640, 480), (424, 240)];

// As owners of these cameras reported them in librealsense's issues 10838, 9551 and 3621.
const SR300_DEPTH: [f32; 5] =
    [0.098_138_966, 0.203_301_95, 0.003_100_433, 0.002_641_864, -0.112_385_444];
const D455_COLOR: [f32; 5] =
    [-0.056_536_27, 0.068_201_87, 0.000_365_975_2, 0.000_692_575_7, -0.021_843_167];
const T265_FISHEYE: [f32; 5] = [-0.004_348_175, 0.037_125_65, -0.035_539_4, 0.005_772_974, 0.0];

/// Model, focal length in image widths, coefficients.
const LENSES: [(Distortion, f32, [f32; 5]); 14] = [
    (Distortion::None, 0.6, [0.0; 5]),
    (Distortion::BrownConrady, 0.5, [0.0; 5]),
    (Distortion::BrownConrady, 0.71, [0.134, -0.446, -0.000_71, 0.000_36, 0.412]),
    (Distortion::BrownConrady, 0.6, [-0.28, 0.09, 0.001_2, -0.000_8, -0.01]),
    // In its corners ten steps are too few; both stop at the same place.
    (Distortion::BrownConrady, 0.6, [0.25, 0.1, -0.004, 0.003, 0.02]),
    (Distortion::InverseBrownConrady, 0.5, D455_COLOR),
    (Distortion::InverseBrownConrady, 0.739, SR300_DEPTH),
    (Distortion::InverseBrownConrady, 0.6, [-0.2, 0.05, 0.01, -0.02, 0.0]),
    (Distortion::ModifiedBrownConrady, 0.739, SR300_DEPTH),
    (Distortion::ModifiedBrownConrady, 0.6, [0.25, 0.1, -0.004, 0.003, 0.02]),
    (Distortion::Ftheta, 0.45, [0.92, 0.0, 0.0, 0.0, 0.0]),
    (Distortion::Ftheta, 0.45, [0.05, 0.0, 0.0, 0.0, 0.0]),
    (Distortion::KannalaBrandt4, 0.337, T265_FISHEYE),
    (Distortion::KannalaBrandt4, 0.337, [0.0; 5]),
];

fn cameras() -> impl Iterator<Item = Intrinsics> {
    SIZES.into_iter().flat_map(|(width, height)| {
        LENSES.into_iter().map(move |(distortion, focal, coeffs)| {
            let (w, h) = (width as f32, height as f32);
            let (fx, fy) = (focal * w + 0.37, focal * w - 0.59);
            Intrinsics { width, height, fx, fy, ppx: 0.493 * w, ppy: 0.511 * h, distortion, coeffs }
        })
    })
}

/// About 300 pixels, the corners and the border included.
fn grid(camera: &Intrinsics) -> impl Iterator<Item = [f32; 2]> + use<> {
    let (width, height) = (camera.width as usize, camera.height as usize);
    let steps = |n: usize, step: usize| (0..n).step_by(step).chain([n - 1]).map(|i| i as f32);
    steps(height, height / 15).flat_map(move |v| steps(width, width / 20).map(move |u| [u, v]))
}

fn to_sys(camera: &Intrinsics) -> sys::rs2_intrinsics {
    sys::rs2_intrinsics {
        width: camera.width as i32,
        height: camera.height as i32,
        ppx: camera.ppx,
        ppy: camera.ppy,
        fx: camera.fx,
        fy: camera.fy,
        model: match camera.distortion {
            Distortion::None => sys::rs2_distortion_RS2_DISTORTION_NONE,
            Distortion::ModifiedBrownConrady => {
                sys::rs2_distortion_RS2_DISTORTION_MODIFIED_BROWN_CONRADY
            }
            Distortion::InverseBrownConrady => {
                sys::rs2_distortion_RS2_DISTORTION_INVERSE_BROWN_CONRADY
            }
            Distortion::Ftheta => sys::rs2_distortion_RS2_DISTORTION_FTHETA,
            Distortion::BrownConrady => sys::rs2_distortion_RS2_DISTORTION_BROWN_CONRADY,
            Distortion::KannalaBrandt4 => sys::rs2_distortion_RS2_DISTORTION_KANNALA_BRANDT4,
            Distortion::RationalPolynomial(_) => unreachable!("librealsense has no such model"),
        },
        coeffs: camera.coeffs,
    }
}

fn librealsense_ray(camera: &Intrinsics, pixel: [f32; 2]) -> [f32; 2] {
    let (mut point, camera) = ([f32::NAN; 3], to_sys(camera));
    // SAFETY: the function writes three floats, and reads one `rs2_intrinsics` and two floats.
    unsafe { sys::rs2_deproject_pixel_to_point(point.as_mut_ptr(), &camera, pixel.as_ptr(), 1.0) };
    [point[0], point[1]]
}

fn librealsense_pixel(camera: &Intrinsics, point: [f32; 3]) -> [f32; 2] {
    let (mut pixel, camera) = ([f32::NAN; 2], to_sys(camera));
    // SAFETY: the function writes two floats, and reads one `rs2_intrinsics` and three floats.
    unsafe { sys::rs2_project_point_to_pixel(pixel.as_mut_ptr(), &camera, point.as_ptr()) };
    pixel
}

fn librealsense_apply(extrinsics: &Extrinsics, point: [f32; 3]) -> [f32; 3] {
    let Extrinsics { rotation, translation_m: translation } = *extrinsics;
    let (mut moved, extrinsics) = ([f32::NAN; 3], sys::rs2_extrinsics { rotation, translation });
    // SAFETY: the function writes three floats, and reads one `rs2_extrinsics` and three floats.
    unsafe { sys::rs2_transform_point_to_point(moved.as_mut_ptr(), &extrinsics, point.as_ptr()) };
    moved
}

/// Asserts agreement to a millionth of each component, or, of one near 0, of the whole.
fn assert_agree<const N: usize>(
    got: [f32; N],
    want: [f32; N],
    whole: f32,
    context: impl Fn() -> String,
) {
    for (got, want) in got.into_iter().zip(want) {
        let near = 1e-6 * want.abs().max(1e-3 * whole);
        assert!((got - want).abs() <= near, "{got} for {want}, {}", context());
    }
}

#[test]
fn rays_are_librealsenses() {
    for camera in cameras().filter(|camera| camera.distortion != Distortion::ModifiedBrownConrady) {
        for [u, v] in grid(&camera) {
            let want = librealsense_ray(&camera, [u, v]);
            assert_agree(camera.ray(u, v), want, want[0].hypot(want[1]).max(1.0), || {
                format!("({u}, {v}) of {camera:?}")
            });
            if !camera.is_distorted() {
                assert_eq!(camera.ray(u, v), want);
            }
        }
    }
}

#[test]
fn librealsense_leaves_modified_brown_conrady_as_it_is_and_depthcast_does_not() {
    for camera in cameras().filter(|camera| camera.distortion == Distortion::ModifiedBrownConrady) {
        for [u, v] in grid(&camera) {
            let bent = librealsense_ray(&camera, [u, v]);
            assert_eq!(bent, [(u - camera.ppx) / camera.fx, (v - camera.ppy) / camera.fy]);
            let [x, y] = camera.ray(u, v);
            let [back_u, back_v] = librealsense_pixel(&camera, [x, y, 1.0]);
            assert!(
                (back_u - u).hypot(back_v - v) < 0.001,
                "({u}, {v}) came back as ({back_u}, {back_v}), {camera:?}"
            );
        }
    }
}

#[test]
fn pixels_are_librealsenses() {
    for camera in cameras() {
        for [u, v] in grid(&camera) {
            // Also rays that leave the image, and fields of view that the lens does not have.
            let [x, y] = [1.4 * (u - camera.ppx) / camera.fx, 1.4 * (v - camera.ppy) / camera.fy];
            for z in [0.27, 1.0, 6.3] {
                let point = [x * z, y * z, z];
                let context = || format!("{point:?} of {camera:?}");
                // A pixel is a sum, and has the digits of the larger summand.
                assert_agree(
                    camera.pixel(point),
                    librealsense_pixel(&camera, point),
                    1e3 * camera.ppx,
                    context,
                );
            }
        }
    }
}

#[test]
fn points_move_as_librealsense_moves_them() {
    // A camera six centimetres beside the other, and not quite parallel.
    let (rotation, translation_m) = (
        [
            0.999_982_2,
            -0.005_386_1,
            -0.002_556_5,
            0.005_378_9,
            0.999_981_6,
            -0.002_810_2,
            0.002_571_6,
            0.002_796_4,
            0.999_992_8,
        ],
        [-0.059_134_4, 0.000_084_5, 0.000_454_6],
    );
    for extrinsics in [Extrinsics::IDENTITY, Extrinsics { rotation, translation_m }] {
        for i in 0..1000 {
            let step = |n: i32| (i / n % 10) as f32 - 4.3;
            let point = [step(1), step(10), step(100)];
            let want = librealsense_apply(&extrinsics, point);
            let length = want[0].hypot(want[1]).hypot(want[2]);
            assert_agree(extrinsics.apply(point), want, 1e3 * length, || format!("{point:?}"));
        }
    }
}
