//! Whether one version does worse than another, or only seems to: a one-sided test on two proportions.
//!
//! Of `n` calls of the new version `bad` were bad, of `n0` calls of the version before `bad0`. Were the
//! two versions alike, each way to give the `bad + bad0` bad calls to the `n + n0` calls would be as
//! likely as any other, so that the number of bad calls that the new version has is distributed
//! hypergeometrically (Fisher's exact test). [`chance`] is how often a version that is no worse has as many
//! bad calls or more. That is exact for few calls and for many, and needs no guess of the true rates.
//!
//! A judge who looks again and again will see something rare at some time. The chance is smallest at the
//! moment of a bad call. So the look with `bad` bad calls may err in `alpha / (bad (bad + 1))` of all cases,
//! and the sum of that over all looks is `alpha`: whenever the judge stops, the whole probation condemns a
//! version that is no worse with a probability of at most `alpha` (a Bonferroni correction by spending).

/// Bad calls among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bad: u64,
    pub(super) all: u64,
}

impl Part {
    /// Whether the part that is bad is more than twice that of `before`. What is less is not worth a
    /// rollback, however certain it is.
    pub(super) fn is_more_than_twice(self, before: Self) -> bool {
        let (now, then) = (u128::from(self.bad), u128::from(before.bad));
        // bad / all > 2 * before.bad / before.all, without a division.
        now * u128::from(before.all.max(1)) > 2 * then * u128::from(self.all)
    }

    /// Whether a version that is no worse than the one with `before` would hardly have so many bad calls,
    /// with a judge who looks at each bad call, and may err with the probability `alpha` over all looks.
    pub(super) fn is_evidence(self, before: Self, alpha: f64) -> bool {
        let bad = self.bad as f64;
        self.bad > 0 && chance(self, before) < alpha / (bad * (bad + 1.0))
    }
}

/// How often a version that is no worse than the one with `before` has as many bad calls as `now`, or more.
fn chance(now: Part, before: Part) -> f64 {
    let (n, n0) = (now.all as f64, before.all as f64);
    let (bad, bad0) = (now.bad as f64, before.bad as f64);
    // No more than expected, which the sum below would take long to find out.
    if n0 == 0.0 || bad * n0 <= bad0 * n {
        return 1.0;
    }
    let (all, all_bad) = (n + n0, bad + bad0);
    let first = ln_choose(all_bad, bad) + ln_choose(all - all_bad, n - bad) - ln_choose(all, n);
    let (mut term, mut sum, mut x) = (1.0_f64, 1.0_f64, bad);
    // Each term is smaller than the one before, since `bad` is beyond what is expected.
    while x < all_bad.min(n) && term > sum * f64::EPSILON {
        term *= (all_bad - x) * (n - x) / ((x + 1.0) * (all - all_bad - n + x + 1.0));
        sum += term;
        x += 1.0;
    }
    (first.exp() * sum).min(1.0)
}

/// The logarithm of the number of ways to choose `k` of `n`.
fn ln_choose(n: f64, k: f64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// The logarithm of the factorial of `n`, a whole number.
fn ln_factorial(n: f64) -> f64 {
    if n < 16.0 {
        // Below that, Stirling's series is not exact enough.
        return (2..=n as u64).map(|it| (it as f64).ln()).sum();
    }
    let series = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bad: u64, all: u64) -> Part {
        Part { bad, all }
    }

    #[test]
    fn chances_are_those_of_the_hypergeometric_distribution() {
        let check = |now, before, expected: f64| {
            let found = chance(now, before);
            assert!((found / expected - 1.0).abs() < 1e-6, "{now:?} {before:?}: {found}");
        };
        // One way of choose(8, 3) = 56; the lady and her tea; with scipy's `hypergeom.sf`.
        check(part(3, 3), part(0, 5), 1.0 / 56.0);
        check(part(3, 4), part(1, 4), 17.0 / 70.0);
        check(part(5, 10), part(0, 100), 252.0 / 122_391_522.0);
        assert_eq!(chance(part(1, 10), part(10, 100)), 1.0);
        assert_eq!(chance(part(3, 3), part(0, 0)), 1.0, "nothing to compare with");
        let large = chance(part(20_000, 1_000_000), part(10_000, 1_000_000));
        assert!(large < 1e-300, "{large}");
    }

    #[test]
    fn factorials_go_on_where_the_series_begins() {
        for n in [14.0, 15.0, 16.0, 17.0, 40.0] {
            let step = ln_factorial(n) - ln_factorial(n - 1.0) - n.ln();
            assert!(step.abs() < 1e-9, "{n}: {step}");
        }
    }

    #[test]
    fn evidence_needs_more_the_more_often_somebody_looks() {
        assert!(part(3, 3).is_evidence(part(0, 1000), 0.0005));
        assert!(part(5, 10).is_evidence(part(0, 100), 0.0005));
        assert!(!part(3, 300).is_evidence(part(0, 100), 0.0005), "too few to tell");
        assert!(!part(30, 100).is_evidence(part(300, 1000), 0.0005), "it is alike");
        assert!(!part(0, 1000).is_evidence(part(0, 1000), 0.0005));
        assert!(part(3, 10).is_more_than_twice(part(1, 10)));
        assert!(!part(2, 10).is_more_than_twice(part(1, 10)));
    }
}
