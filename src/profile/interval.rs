//! How certain the difference of two means is after few repetitions.
//!
//! A bootstrap resamples the repetitions and takes the percentiles of the results (Efron and
//! Tibshirani 1993, chapter 13). It handles skewed noise, but with three to ten repetitions it is
//! too narrow at the small probabilities that many figures leave to each: in simulations up to 12
//! of 100 comparisons of two equal sides had one of 14 figures that differed, where 5 are allowed,
//! although its deviations had been widened by Student's t (Hesterberg 2015, "What Teachers Should
//! Know About the Bootstrap"). So the interval is never narrower than Student's (1908; for two
//! sides with noise of their own, Welch 1947), which stays within the 5.

use statrs::distribution::{ContinuousCDF as _, StudentsT};
use statrs::statistics::Statistics as _;

use crate::source::synthetic::splitmix64;

const DRAWS: usize = 10_000;

type Interval = (f64, f64);

/// The interval of `mean(b) - mean(a)` that is wrong with probability `alpha`. It is NaN with less
/// than two values on a side.
pub fn apart(a: &[f64], b: &[f64], alpha: f64) -> Interval {
    wider(welch(a, b, alpha), bootstrap(alpha, |draw| drawn_mean(b, draw) - drawn_mean(a, draw)))
}

/// The same of pairs that were measured together: what affected both alike is no noise.
///
/// # Panics
/// With unequal sides.
pub fn paired(a: &[f64], b: &[f64], alpha: f64) -> Interval {
    assert_eq!(a.len(), b.len(), "each value of one side belongs to one of the other");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    wider(student(&differences, alpha), bootstrap(alpha, |draw| drawn_mean(&differences, draw)))
}

fn wider(a: Interval, b: Interval) -> Interval {
    (a.0.min(b.0), a.1.max(b.1))
}

/// `again` computes the difference of repetitions that are chosen by the function it is given: one
/// of so many.
fn bootstrap(alpha: f64, mut again: impl FnMut(&mut dyn FnMut(usize) -> usize) -> f64) -> Interval {
    // Always the same draws, so that the same reports always compare alike.
    let mut state = 0x853c_49e6_748f_ea9b_u64;
    let mut draw = |n: usize| (splitmix64(&mut state) % n as u64) as usize;
    let mut differences: Vec<f64> = (0..DRAWS).map(|_| again(&mut draw)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let beyond = (DRAWS as f64 * alpha / 2.0) as usize;
    (differences[beyond], differences[DRAWS - 1 - beyond])
}

fn drawn_mean(values: &[f64], draw: &mut dyn FnMut(usize) -> usize) -> f64 {
    let n = values.len();
    (0..n).map(|_| values[draw(n)]).sum::<f64>() / n as f64
}

fn welch(a: &[f64], b: &[f64], alpha: f64) -> Interval {
    let [of_a, of_b] = [a, b].map(|values| values.variance() / values.len() as f64);
    let freedom = |of: f64, n: usize| of * of / (n as f64 - 1.0);
    let degrees = (of_a + of_b).powi(2) / (freedom(of_a, a.len()) + freedom(of_b, b.len()));
    around(b.mean() - a.mean(), of_a + of_b, degrees, alpha)
}

fn student(differences: &[f64], alpha: f64) -> Interval {
    let n = differences.len() as f64;
    around(differences.mean(), differences.variance() / n, n - 1.0, alpha)
}

fn around(difference: f64, variance: f64, degrees: f64, alpha: f64) -> Interval {
    // Without any noise there are no degrees of freedom either.
    let reach =
        if variance > 0.0 { t_quantile(1.0 - alpha / 2.0, degrees) * variance.sqrt() } else { 0.0 };
    (difference - reach, difference + reach)
}

/// Below which a value of Student's distribution lies with this probability.
fn t_quantile(probability: f64, degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees).map_or(f64::INFINITY, |t| t.inverse_cdf(probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a cell has figures.
    const FIGURES: usize = 14;
    const ALPHA: f64 = 0.05;

    type Noise = fn(&mut u64) -> f64;
    type Way = fn(&[f64], &[f64], f64) -> Interval;

    fn uniform(state: &mut u64) -> f64 {
        ((splitmix64(state) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box and Muller.
    fn normal(state: &mut u64) -> f64 {
        (-2.0 * uniform(state).ln()).sqrt() * (std::f64::consts::TAU * uniform(state)).cos()
    }

    /// A spread of 10 %: latencies are compared by their logarithms.
    fn lognormal(state: &mut u64) -> f64 {
        0.1 * normal(state)
    }

    /// Student's with three degrees of freedom.
    fn heavy_tailed(state: &mut u64) -> f64 {
        let square = (0..3).map(|_| normal(state).powi(2)).sum::<f64>() / 3.0;
        0.1 * normal(state) / square.sqrt()
    }

    /// One repetition of ten is slowed down, by half or by much more.
    fn with_hiccups(state: &mut u64) -> f64 {
        let hiccup = if uniform(state) < 0.1 { -0.5 * uniform(state).ln() } else { 0.0 };
        0.05 * normal(state) + hiccup
    }

    const NOISES: [(&str, Noise); 3] =
        [("lognormal", lognormal), ("heavy-tailed", heavy_tailed), ("hiccups", with_hiccups)];

    fn differs((low, high): Interval) -> bool {
        low > 0.0 || high < 0.0
    }

    /// Student's interval of the differences of pairs.
    fn paired_student(a: &[f64], b: &[f64], alpha: f64) -> Interval {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
        student(&differences, alpha)
    }

    fn values(state: &mut u64, noise: Noise, n: usize, center: f64) -> Vec<f64> {
        (0..n).map(|_| center + noise(state)).collect()
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (probability, degrees, t) in [
            (0.975, 2.0, 4.3027),
            (0.975, 4.0, 2.7764),
            (0.995, 9.0, 3.2498),
            (0.9995, 8.0, 5.0413),
            (0.999, 4.0, 7.1732),
        ] {
            let got = t_quantile(probability, degrees);
            assert!((got - t).abs() < 1e-3, "{probability}, {degrees}: {got} instead of {t}");
        }
        assert!(
            (t_quantile(0.975, 8.5) - 2.28).abs() < 0.03,
            "Welch's degrees are no whole numbers"
        );
    }

    #[test]
    fn intervals_are_those_of_textbooks() {
        // Student's own data: hours of sleep that two soporifics gained ten patients.
        let a = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let b = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        for (got, want) in [
            (paired_student(&a, &b, 0.05), (0.7001, 2.4599)),
            (welch(&a, &b, 0.05), (-0.2055, 3.3655)),
        ] {
            assert!((got.0 - want.0).abs() < 1e-3 && (got.1 - want.1).abs() < 1e-3, "{got:?}");
        }
        assert_eq!(apart(&[1.0; 3], &[1.5; 4], 0.05), (0.5, 0.5), "no noise");
        assert_eq!(paired(&[1.0; 3], &[1.0; 3], 0.05), (0.0, 0.0));
    }

    #[test]
    fn equal_sides_seldom_differ_in_any_of_their_figures() {
        const COMPARISONS: usize = 1000;
        // Of Student's intervals; wider ones differ no more often.
        let ways: [(&str, Way); 2] = [("apart", welch), ("paired", paired_student)];
        for ((name, noise), (way_name, way)) in NOISES.iter().flat_map(|&n| ways.map(|w| (n, w))) {
            for n in [3, 5, 10] {
                let mut state = n as u64;
                let mut has_alarm = || {
                    let figures = [(); FIGURES].map(|()| {
                        let [a, b] = [(); 2].map(|()| values(&mut state, noise, n, 0.0));
                        differs(way(&a, &b, ALPHA / FIGURES as f64))
                    });
                    figures.contains(&true)
                };
                let alarms = (0..COMPARISONS).filter(|_| has_alarm()).count();
                // 5 %, and three standard deviations of the count.
                assert!(alarms <= 71, "{name}, {n} repetitions, {way_name}: {alarms} alarms");
            }
        }
    }

    #[test]
    fn skewed_noise_makes_a_skewed_interval() {
        // One pair of thirty was much slower.
        let (a, mut b) = ([0.0; 30], [0.1; 30]);
        b[7] = 9.0;
        let ((low, high), (student_low, student_high)) = (paired(&a, &b, 0.01), student(&b, 0.01));
        assert!(
            low == student_low && high > student_high,
            "{low} to {high}; Student's is {student_low} to {student_high}"
        );
        assert_eq!(paired(&a, &b, 0.01), paired(&a, &b, 0.01), "the draws are always the same");
    }

    #[test]
    fn what_has_grown_by_two_thirds_is_found() {
        const COMPARISONS: usize = 1000;
        let found = |noise: Noise, n: usize, of: Way| {
            let mut state = 1;
            let mut found = || {
                let [a, b] = [0.0, (5.0f64 / 3.0).ln()].map(|at| values(&mut state, noise, n, at));
                of(&a, &b, ALPHA / FIGURES as f64).0 > 0.0
            };
            (0..COMPARISONS).filter(|_| found()).count()
        };
        let five = found(lognormal, 5, apart);
        assert!(five >= 970, "{five} of {COMPARISONS} with five repetitions");
        for of in [apart, paired] {
            assert_eq!(found(lognormal, 10, of), COMPARISONS);
            let heavy = found(heavy_tailed, 10, of);
            assert!(heavy >= 900, "{heavy} of {COMPARISONS} with heavy tails");
        }
    }

    #[test]
    fn pairs_cancel_the_drift_of_a_machine() {
        let (mut state, mut drift, mut alarms, mut found) = (5, 0.0, 0, [0; 2]);
        for _ in 0..200 {
            // Ten pairs, in each of which the machine becomes faster or slower by up to half.
            let machine = [(); 10].map(|()| {
                drift += 0.3 * normal(&mut state);
                drift
            });
            let mut side = |center: f64| machine.map(|at| at + center + 0.05 * normal(&mut state));
            let (a, b, slow) = (side(0.0), side(0.0), side(0.2));
            alarms += usize::from(differs(paired(&a, &b, ALPHA / FIGURES as f64)));
            for (found, of) in found.iter_mut().zip([apart, paired]) {
                *found += usize::from(differs(of(&a, &slow, ALPHA / FIGURES as f64)));
            }
        }
        assert!(alarms <= 4, "{alarms} of 200 equal ones differ");
        assert!(found[1] >= 195 && found[0] < 20, "{found:?} of 200 are found apart, and in pairs");
    }
}
