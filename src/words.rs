//! Words in messages.

use std::fmt::Display;

/// `1 frame`, `2 frames`.
pub fn count(n: impl Display, thing: &str) -> String {
    let n = n.to_string();
    let ending = if n == "1" { "" } else { "s" };
    format!("{n} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [0, 1, 2, 11].map(|n| count(n, "byte")),
            ["0 bytes", "1 byte", "2 bytes", "11 bytes"]
        );
    }
}
