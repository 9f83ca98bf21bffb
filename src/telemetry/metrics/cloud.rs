//! Metric families of the cloud API: requests and the use of rate limits.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::durations;
use crate::cloud::client::Finished;
use crate::cloud::rate_limit::{RateLimit, Usage};

/// Maximum number of error codes with series of their own.
pub(super) const MAX_CODES: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    product: String,
    action: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    product: String,
    action: String,
}

/// Labels of a rate limit. `namespace` and `name` are those of an account object with a budget; empty for the limit that
/// all callers with one identity share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RateLimitLabels {
    identity: String,
    namespace: String,
    name: String,
    product: &'static str,
    region: String,
    action: &'static str,
}

/// Metric families of the cloud API.
pub(super) struct Cloud {
    requests: Family<Request, Counter>,
    seconds: Family<Operation, Histogram>,
    codes: Mutex<HashSet<String>>,
    pub(super) rate_limits: RateLimits,
}

impl Cloud {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        let seconds = Family::<Operation, Histogram>::new_with_constructor(durations as fn() -> Histogram);
        let rate_limits = RateLimits::default();
        let help = "How many requests were made to the cloud API, by the code of the answer: OK, the API's error \
            code, or Other after 200 different ones";
        registry.register("cloud_requests", help, Family::clone(&requests));
        let help = "How long requests to the cloud API took, waiting for the operator's own rate limit not included";
        registry.register_with_unit("cloud_request_duration", help, Unit::Seconds, seconds.clone());
        registry.register_collector(Box::new(rate_limits.clone()));
        Self { requests, seconds, codes: Mutex::default(), rate_limits }
    }

    pub(super) fn requested(&self, finished: &Finished<'_>) {
        let Finished { product, operation, code, duration } = finished;
        let (product, action) = ((*product).to_owned(), operation.as_str().to_owned());
        // The API chooses the codes: it must not create an unlimited number of series.
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = codes.contains(*code) || (codes.len() < MAX_CODES && codes.insert((*code).to_owned()));
        let code = if known { (*code).to_owned() } else { "Other".into() };
        drop(codes);
        let operation = Operation { product: product.clone(), action: action.clone() };
        self.requests.get_or_create(&Request { product, action, code }).inc();
        self.seconds.get_or_create(&operation).observe(duration.as_secs_f64());
    }
}

/// Rate limits, read at every scrape because their allowance changes with time alone.
#[derive(Clone, Debug, Default)]
pub(super) struct RateLimits(Arc<Mutex<Vec<Arc<RateLimit>>>>);

impl RateLimits {
    pub(super) fn watch(&self, rate_limit: Arc<RateLimit>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rate_limit);
    }
}

impl Collector for RateLimits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rate_limits = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = Instant::now();
        let all: Vec<_> = rate_limits.iter().flat_map(|it| it.usage(now)).map(|it| (labels(&it), it)).collect();
        if all.is_empty() {
            return Ok(());
        }
        let with_rates = all.iter().filter_map(|(labels, usage)| Some((labels, usage.rates?)));
        let with_rates: Vec<_> = with_rates.collect();
        let help = "How many calls a second of an operation the operator's rate limit allows now; fewer than the limit \
            after the service throttled, and none during the pause that it asked for. Without namespace and name: \
            all callers with the identity together; with them: the budget of an account object. At most 2000 limits \
            have series.";
        let name = "cloud_budget_requests_per_second";
        write(&mut encoder, name, help, None, &with_rates, |it| ConstGauge::new(it.allowed))?;
        let help = "How many calls a second of an operation the operator's rate limit allows while nothing throttles.";
        let name = "cloud_budget_limit_requests_per_second";
        write(&mut encoder, name, help, None, &with_rates, |it| ConstGauge::new(it.limit))?;
        let totals: Vec<_> = all.iter().map(|(labels, usage)| (labels, usage.totals)).collect();
        let (help, unit) = ("How long calls waited for the operator's own rate limit, added up.", Some(&Unit::Seconds));
        write(&mut encoder, "cloud_budget_wait", help, unit, &totals, |it| ConstCounter::new(it.waited.as_secs_f64()))?;
        let help = "How many calls were given up since the operator's own rate limit was used up: changes after five \
            seconds, samples after a minute.";
        write(&mut encoder, "cloud_budget_exhausted", help, None, &totals, |it| ConstCounter::new(it.exhausted))?;
        let help = "How many calls the service answered with a demand for fewer calls.";
        write(&mut encoder, "cloud_throttled_requests", help, None, &totals, |it| ConstCounter::new(it.throttled))
    }
}

fn write<V, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    all: &[(&RateLimitLabels, V)],
    metric: impl Fn(&V) -> M,
) -> fmt::Result {
    let Some((_, first)) = all.first() else { return Ok(()) };
    let mut family = encoder.encode_descriptor(name, help, unit, metric(first).metric_type())?;
    all.iter().try_for_each(|(labels, value)| metric(value).encode(family.encode_family(*labels)?))
}

fn labels(usage: &Usage) -> RateLimitLabels {
    let (namespace, name) = usage.account.split_once('/').unwrap_or_default();
    RateLimitLabels {
        identity: usage.identity.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        product: usage.product,
        region: usage.region.clone(),
        action: usage.operation.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::cloud::operation::ApiOperation;
    use crate::cloud::rate_limit::{BucketKey, Budget, Identity, Owner};

    #[test]
    fn limits_are_exported_by_identity_or_account() {
        let (limit, limits, now) = (Arc::new(RateLimit::new(36)), RateLimits::default(), Instant::now());
        let (identity, budget) = (Identity::of_account("1234567890123456"), Budget::new("shop/main".into(), 9));
        let operation = ApiOperation::GetDisasterRecoveryPlan;
        let shared =
            BucketKey { owner: Owner::Shared(&identity), product: "rocketmq", region: "cn-hangzhou", operation };
        limit.throttled(shared, Some(Duration::from_secs(600)), now);
        limit.exhausted(BucketKey { owner: Owner::Account(&budget), ..shared }, now, Duration::from_secs(5));
        limits.watch(limit.clone());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(limits));
        let text = |registry: &Registry| {
            let mut text = String::new();
            encode(&mut text, registry).expect("a string takes all");
            text
        };
        let rest = |name: &str| {
            let (namespace, identity) = if name.is_empty() { ("", "1234567890123456") } else { ("shop", "") };
            let action = "GetDisasterRecoveryPlan";
            format!(
                "{{identity=\"{identity}\",namespace=\"{namespace}\",name=\"{name}\",product=\"rocketmq\",\
                 region=\"cn-hangzhou\",action=\"{action}\"}}"
            )
        };
        let (shared, own) = (rest(""), rest("main"));
        let exported = text(&registry);
        for (family, of_shared, of_own) in [
            ("cloud_budget_requests_per_second", "0.0", "9.0"),
            ("cloud_budget_limit_requests_per_second", "36.0", "9.0"),
            ("cloud_budget_wait_seconds_total", "0.0", "5.0"),
            ("cloud_budget_exhausted_total", "0", "1"),
            ("cloud_throttled_requests_total", "1", "0"),
        ] {
            for (labels, value) in [(&shared, of_shared), (&own, of_own)] {
                let line = format!("{family}{labels} {value}");
                assert!(exported.lines().any(|it| it == line), "{line} is not in\n{exported}");
            }
        }
        // Regions come from specs, and do not create any number of series.
        for number in 0..3000 {
            let key =
                BucketKey { owner: Owner::Shared(&identity), product: "ebs", region: &number.to_string(), operation };
            limit.throttled(key, None, now);
        }
        let exported = text(&registry);
        let series = |family: &str| exported.lines().filter(|line| line.starts_with(family)).count();
        assert_eq!(series("cloud_throttled_requests_total{"), 2001);
        assert_eq!(series("cloud_budget_requests_per_second{"), 2000);
    }
}
