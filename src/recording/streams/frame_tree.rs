//! Extrinsics between cameras, by the transforms that ROS keeps between named frames (`tf_static`
//! and `tf`).

use std::collections::BTreeMap;

use crate::camera::Extrinsics;
use crate::recording::ros::Rigid;

/// The longest path from a frame to the root. Real trees have a tenth of it; a longer one is a
/// cycle.
const MAX_HOPS: usize = 64;
/// More frames than any robot has; further ones are left out.
const MAX_FRAMES: usize = 4096;
/// No two cameras of one device are farther apart.
const MAX_TRANSLATION_M: f64 = 10.0;

impl Rigid {
    /// First this, then `next`.
    fn then(&self, next: &Self) -> Self {
        let columns = transposed(&self.rotation).map(|column| next.rotate(column));
        let moved = next.rotate(self.translation_m);
        let translation_m = [0, 1, 2].map(|i| moved[i] + next.translation_m[i]);
        Self { rotation: transposed(&columns), translation_m }
    }

    fn inverse(&self) -> Self {
        // The inverse of a rotation is its transpose.
        let back = Self { rotation: transposed(&self.rotation), translation_m: [0.0; 3] };
        Self { translation_m: back.rotate(self.translation_m).map(|t| -t), ..back }
    }

    fn extrinsics(&self) -> Extrinsics {
        let mut rotation = [0.0; 9];
        for (to, from) in rotation.iter_mut().zip(transposed(&self.rotation).as_flattened()) {
            *to = *from as f32;
        }
        Extrinsics { rotation, translation_m: self.translation_m.map(|t| t as f32) }
    }
}

fn transposed(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    [0, 1, 2].map(|c| [m[0][c], m[1][c], m[2][c]])
}

/// Frames, each with its parent and the transform to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameTree {
    parents: BTreeMap<String, (String, Rigid)>,
}

impl FrameTree {
    /// `to_parent` takes points of the child's frame into the parent's: a point p of the child is
    /// `R p + t` in the parent.
    ///
    /// The first message on a frame counts: the cameras of a device do not move against one
    /// another, and a frame that gets another parent later belongs to something that does.
    pub fn add(&mut self, parent: &str, child: &str, to_parent: Rigid) {
        let (parent, child) = (bare(parent), bare(child));
        if self.parents.len() < MAX_FRAMES && !self.parents.contains_key(child) && parent != child {
            self.parents.insert(child.to_owned(), (parent.to_owned(), to_parent));
        }
    }

    /// The frame itself and its ancestors, each with the transform to it.
    fn ancestors<'a>(&'a self, frame: &'a str) -> Vec<(&'a str, Rigid)> {
        let mut path = vec![(bare(frame), Rigid::IDENTITY)];
        while let Some(&(last, so_far)) = path.last()
            && path.len() <= MAX_HOPS
            && let Some((parent, to_parent)) = self.parents.get(last)
        {
            path.push((parent, so_far.then(to_parent)));
        }
        path
    }

    /// Takes points of the frame `from` into the frame `to`, if they are connected.
    pub fn extrinsics(&self, from: &str, to: &str) -> Option<Extrinsics> {
        let above = self.ancestors(to);
        let (up, down) = self.ancestors(from).into_iter().find_map(|(frame, up)| {
            let (_, down) = above.iter().find(|(other, _)| *other == frame)?;
            Some((up, *down))
        })?;
        let transform = up.then(&down.inverse());
        transform
            .translation_m
            .iter()
            .all(|t| t.abs() < MAX_TRANSLATION_M)
            .then(|| transform.extrinsics())
    }
}

/// ROS 1 once wrote frames with a slash in front.
fn bare(frame: &str) -> &str {
    frame.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
    const STRAIGHT: [f64; 4] = [0.0, 0.0, 0.0, 1.0];

    fn tree(links: &[(&str, &str, [f64; 3], [f64; 4])]) -> FrameTree {
        let mut tree = FrameTree::default();
        for &(parent, child, t, q) in links {
            tree.add(parent, child, Rigid::new(t, q).unwrap());
        }
        tree
    }

    fn assert_near(got: &[f32], want: &[f32]) {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {want:?}");
    }

    #[test]
    fn a_child_is_rotated_and_then_moved_into_its_parent() {
        // A quarter turn about z: x of the child is y of the parent.
        let tree = tree(&[("depth", "color", [1.0, 2.0, 3.0], [0.0, 0.0, HALF, HALF])]);
        let apply = |from, to, point| tree.extrinsics(from, to).unwrap().apply(point);
        assert_near(&apply("color", "depth", [1.0, 0.0, 0.0]), &[1.0, 3.0, 3.0]);
        assert_near(&apply("depth", "color", [1.0, 3.0, 3.0]), &[1.0, 0.0, 0.0]);
        assert_eq!(tree.extrinsics("depth", "depth"), Some(Extrinsics::IDENTITY));
        assert_eq!(tree.extrinsics("depth", "lidar"), None);
    }

    #[test]
    fn neither_cycles_nor_second_parents_nor_long_paths_mislead() {
        let near = [0.1; 3];
        let ring = tree(&[
            ("a", "b", near, STRAIGHT),
            ("b", "c", near, STRAIGHT),
            ("c", "a", near, STRAIGHT),
        ]);
        assert_eq!(ring.extrinsics("a", "z"), None, "and it comes to an end");
        assert!(ring.extrinsics("a", "c").is_some());
        let two = tree(&[
            ("a", "/b", near, STRAIGHT),
            ("map", "b", [5.0; 3], STRAIGHT),
            ("b", "b", [1.0; 3], STRAIGHT),
        ]);
        assert_near(&two.extrinsics("b", "a").unwrap().translation_m, &[0.1; 3]);
        assert_eq!(two.extrinsics("b", "map"), None);
        let names: Vec<String> = (0..100).map(|i| format!("f{i}")).collect();
        let chain: Vec<_> =
            names.windows(2).map(|n| (n[0].as_str(), n[1].as_str(), [0.01; 3], STRAIGHT)).collect();
        assert!(tree(&chain).extrinsics("f64", "f0").is_some());
        assert!(tree(&chain).extrinsics("f65", "f0").is_none());
        let far = tree(&[("a", "b", [11.0, 0.0, 0.0], STRAIGHT)]);
        assert_eq!(far.extrinsics("b", "a"), None, "no camera is so far away");
    }

    #[test]
    fn what_is_no_rotation_is_left_out() {
        for (t, q) in
            [([0.0; 3], [0.0; 4]), ([f64::NAN; 3], STRAIGHT), ([0.0; 3], [f64::NAN, 0.0, 0.0, 1.0])]
        {
            assert_eq!(Rigid::new(t, q), None);
        }
    }
}
