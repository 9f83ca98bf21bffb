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
use crate::cloud::rate_limit::{Priority, RateLimit, Usage};

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

/// Labels of a rate limit. `namespace` and `name` are those of an account, or empty for the operator's own credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RateLimitLabels {
    namespace: String,
    name: String,
    product: &'static str,
    region: String,
    lane: &'static str,
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
        let help = "How long requests to the cloud API took, waiting for the operator's own budget not included";
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
        let help = "How many calls a second the operator's budget allows now, by account (empty labels: the \
            operator's own identity), product, region and lane; fewer than the limit while the service \
            throttles.";
        write(&mut encoder, "cloud_budget_requests_per_second", help, None, &all, |it| ConstGauge::new(it.allowed))?;
        let help = "How many calls a second the operator's budget allows while nothing throttles.";
        let name = "cloud_budget_limit_requests_per_second";
        write(&mut encoder, name, help, None, &all, |it| ConstGauge::new(it.limit))?;
        let (help, unit) = ("How long calls waited for the operator's own budget, added up.", Some(&Unit::Seconds));
        write(&mut encoder, "cloud_budget_wait", help, unit, &all, |it| ConstCounter::new(it.waited.as_secs_f64()))?;
        let help =
            "How many calls were given up since the operator's own budget was used up for more than five seconds.";
        write(&mut encoder, "cloud_budget_exhausted", help, None, &all, |it| ConstCounter::new(it.exhausted))?;
        let help = "How many calls the service answered with a demand for fewer calls.";
        write(&mut encoder, "cloud_throttled_requests", help, None, &all, |it| ConstCounter::new(it.throttled))
    }
}

fn write<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    all: &[(RateLimitLabels, Usage)],
    metric: impl Fn(&Usage) -> M,
) -> fmt::Result {
    let Some((_, first)) = all.first() else { return Ok(()) };
    let mut family = encoder.encode_descriptor(name, help, unit, metric(first).metric_type())?;
    all.iter().try_for_each(|(labels, usage)| metric(usage).encode(family.encode_family(labels)?))
}

fn labels(usage: &Usage) -> RateLimitLabels {
    let (namespace, name) = usage.owner.split_once('/').unwrap_or_default();
    RateLimitLabels {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        product: usage.product,
        region: usage.region.clone(),
        lane: match usage.priority {
            Priority::Sample => "poll",
            Priority::Change => "edit",
        },
    }
}
