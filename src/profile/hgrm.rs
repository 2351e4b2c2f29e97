//! A histogram as HdrHistogram's own plotter reads it (`.hgrm`): its percentiles, in microseconds.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Steps for each halving of the distance to 100 %.
const TICKS: u32 = 5;

/// The text that HdrHistogram's `outputPercentileDistribution` writes.
pub fn text(histogram_ns: &Histogram<u64>) -> String {
    let us = |ns: f64| ns / 1e3;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        writeln!(text, "{arguments}").expect("a String takes all")
    };
    let mut total = 0;
    for step in histogram_ns.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (us(step.value_iterated_to() as f64), step.quantile_iterated_to());
        if quantile < 1.0 {
            line(format_args!(
                "{value:>12.3} {quantile:>2.12} {total:>10} {:>14.2}",
                1.0 / (1.0 - quantile)
            ));
        } else {
            line(format_args!("{value:>12.3} {quantile:>2.12} {total:>10}"));
        }
    }
    let (mean, deviation, max) =
        (us(histogram_ns.mean()), us(histogram_ns.stdev()), us(histogram_ns.max() as f64));
    line(format_args!("#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"));
    line(format_args!("#[Max     = {max:>12.3}, Total count    = {:>12}]", histogram_ns.len()));
    let sub_buckets = 2048;
    line(format_args!(
        "#[Buckets = {:>12}, SubBuckets     = {sub_buckets:>12}]",
        histogram_ns.buckets()
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_hdrhistogram() {
        let mut histogram = crate::stats::Samples::default().histogram_ns;
        (1..=1000u64).for_each(|us| histogram.saturating_record(us * 1000));
        let text = text(&histogram);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        let rows: Vec<Vec<f64>> = lines[2..lines.len() - 3]
            .iter()
            .map(|line| line.split_whitespace().map(|value| value.parse().unwrap()).collect())
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0]
            && pair[0][1] <= pair[1][1]
            && pair[0][2] <= pair[1][2]));
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!(
            (median[0] - 500.0).abs() < 1.0 && median[2] == 500.0 && median[3] == 2.0,
            "{median:?}"
        );
        let last = rows.last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3));
        assert!(
            lines[lines.len() - 3].starts_with("#[Mean    =      500.5"),
            "{}",
            lines[lines.len() - 3]
        );
        assert!(lines[lines.len() - 2].ends_with("Total count    =         1000]"));
    }
}
