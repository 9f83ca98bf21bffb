//! The clock skew: the distance between this machine's clock and those of the services, measured from the `Date` header
//! of their answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

/// Resolution of a `Date` header.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);
/// Maximum number of endpoints with a measured value. Regions come from specs, so there may be any number of them.
const MAX_ENDPOINTS: usize = 1000;

/// The certain distance of this machine's clock from the clock that wrote `date`, in an answer to a request that began
/// at `start` and ended at `end` by this machine's clock. The service wrote the date between the two, and cut the
/// fraction of its second off.
///
/// `None` if the header is not understood.
pub fn skew(date: &str, start: Timestamp, end: Timestamp) -> Option<Duration> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let earliest = PARSER.parse_timestamp(date).ok()?;
    let latest = earliest.checked_add(RESOLUTION).ok()?;
    let ahead = start.duration_since(latest);
    let behind = earliest.duration_since(end.max(start));
    Some(Duration::try_from(ahead.max(behind)).unwrap_or_default())
}

/// The last measured skew of each endpoint, which all clones share. An endpoint is one service of one region.
#[derive(Clone, Debug, Default)]
pub struct Skews(Arc<Mutex<HashMap<String, (Duration, Timestamp)>>>);

impl Skews {
    /// Measures the skew by one answer. A header that is not understood changes nothing.
    pub fn measure(&self, endpoint: &str, date: &str, start: Timestamp, end: Timestamp) {
        let Some(skew) = skew(date, start, end) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ENDPOINTS && !all.contains_key(endpoint) {
            let oldest = all.iter().min_by_key(|(_, (_, at))| *at).map(|(endpoint, _)| endpoint.clone());
            if let Some(endpoint) = oldest {
                all.remove(&endpoint);
            }
        }
        all.insert(endpoint.to_owned(), (skew, end));
    }

    /// The last measured skew of an endpoint; zero before the first measurement.
    pub fn of(&self, endpoint: &str) -> Duration {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(endpoint).map_or(Duration::ZERO, |(skew, _)| *skew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn skew_is_distance_of_date_to_request() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (start, end, expected) in [
            // The service's clock may be right.
            ("08:49:37Z", "08:49:37Z", 0),
            ("08:49:37.999Z", "08:49:38.5Z", 0),
            ("08:49:30Z", "08:49:37Z", 0),
            ("08:49:38Z", "08:49:39Z", 0),
            ("08:49:30Z", "08:49:50Z", 0),
            // This machine is ahead.
            ("08:49:38.001Z", "08:49:39Z", 1),
            ("08:51:38Z", "08:51:39Z", 120_000),
            // This machine is behind.
            ("08:49:30Z", "08:49:36.75Z", 250),
            ("08:39:36Z", "08:39:37Z", 600_000),
            // The clock was set back during the request.
            ("08:49:39Z", "08:49:30Z", 1000),
        ] {
            let at = |of: &str| time(&format!("1994-11-06T{of}"));
            assert_eq!(skew(date, at(start), at(end)), Some(Duration::from_millis(expected)), "{start} to {end}");
        }
    }

    #[test]
    fn unreadable_date_changes_nothing() {
        let (skews, now) = (Skews::default(), time("1994-11-06T08:49:40Z"));
        assert_eq!(skews.of("https://rocketmq.cn-hangzhou.aliyuncs.com"), Duration::ZERO);
        skews.measure("https://rocketmq.cn-hangzhou.aliyuncs.com", "Sun, 06 Nov 1994 08:49:37 GMT", now, now);
        for date in ["", "yesterday", "1994-11-06T08:49:37Z", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(skew(date, now, now), None, "{date}");
            skews.measure("https://rocketmq.cn-hangzhou.aliyuncs.com", date, now, now);
        }
        assert_eq!(skews.of("https://rocketmq.cn-hangzhou.aliyuncs.com"), Duration::from_secs(2));
        assert_eq!(skews.of("https://rocketmq.cn-shanghai.aliyuncs.com"), Duration::ZERO);
    }

    #[test]
    fn oldest_endpoint_is_dropped_first() {
        let (skews, start) = (Skews::default(), time("1994-11-06T08:49:40Z"));
        let endpoint = |number: usize| format!("https://rocketmq.region-{number}.aliyuncs.com");
        for number in 0..=MAX_ENDPOINTS {
            let now = start + SignedDuration::from_millis(i64::try_from(number).expect("few"));
            skews.measure(&endpoint(number), "Sun, 06 Nov 1994 08:49:37 GMT", now, now);
        }
        assert_eq!(skews.of(&endpoint(0)), Duration::ZERO);
        assert!((1..=MAX_ENDPOINTS).all(|number| !skews.of(&endpoint(number)).is_zero()));
    }
}
