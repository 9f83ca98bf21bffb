//! Misbehaviour on demand.

use serde::{Deserialize, Serialize};

/// One rule of misbehaviour. Requests that are refused for their signature, date, nonce or route do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The action that it strikes, such as `CreateDisasterRecoveryPlan`; any when absent.
    #[serde(default)]
    pub action: Option<String>,
    /// The region that it strikes, as the request itself names it (`RegionId` of EBS, else the host); any when absent. So
    /// a region is down: `Lost`, for that region. A request of RocketMQ or STS to a loopback address names
    /// none, nor does one to the central endpoint of STS.
    #[serde(default)]
    pub region: Option<String>,
    /// How many matching requests pass first.
    #[serde(default)]
    pub after: u32,
    /// How many it then strikes; all when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens.
    pub kind: FaultKind,
}

/// What a fault does to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum FaultKind {
    /// An error; nothing is done.
    Error {
        /// The HTTP status.
        status: u16,
        /// The code.
        code: String,
        /// The text.
        message: String,
        /// Whether the body is the gateway's (PascalCase) or RocketMQ's own.
        #[serde(default)]
        pascal_case: bool,
    },
    /// An error although everything was done, as a gateway's timeout is.
    ErrorAfter {
        /// The HTTP status.
        status: u16,
        /// The code.
        code: String,
        /// The text.
        message: String,
        /// Whether the body is the gateway's (PascalCase) or RocketMQ's own.
        #[serde(default)]
        pascal_case: bool,
    },
    /// `Throttling.User`, HTTP 400; nothing is done.
    Throttle {
        /// What `x-acs-retry-after` says, ms.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// Everything is done at once, but the reply comes late, so that a caller that gives up does not know.
    Slow {
        /// How late, ms.
        ms: u64,
    },
    /// Everything is done, then the connection breaks.
    ReplyLost,
    /// The connection breaks before anything is done; the nonce is used up all the same.
    Lost,
    /// A page of HTML, as a proxy on the way sends it; nothing is done.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// HTTP 200 with JSON that breaks off; nothing is done.
    Garbage,
    /// HTTP 200 with `success: false`; nothing is done.
    SuccessFalse {
        /// The code.
        code: String,
        /// The text.
        message: String,
    },
}

impl FaultKind {
    /// The name that [`RequestRecord::fault`](super::RequestRecord::fault) has.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Error { .. } => "Error",
            FaultKind::ErrorAfter { .. } => "ErrorAfter",
            FaultKind::Throttle { .. } => "Throttle",
            FaultKind::Slow { .. } => "Slow",
            FaultKind::ReplyLost => "ReplyLost",
            FaultKind::Lost => "Lost",
            FaultKind::Html { .. } => "Html",
            FaultKind::Garbage => "Garbage",
            FaultKind::SuccessFalse { .. } => "SuccessFalse",
        }
    }
}

/// The rules in force, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What strikes this request: the first rule that matches and has something left. A rule that only lets it pass
    /// counts it.
    pub(super) fn strike(&mut self, action: &str, region: Option<&str>) -> Option<FaultKind> {
        for fault in &mut self.0 {
            let elsewhere = fault.region.is_some() && fault.region.as_deref() != region;
            if fault.action.as_deref().is_some_and(|only| only != action) || elsewhere || fault.times == Some(0) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            return Some(fault.kind.clone());
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_rule_lets_the_first_requests_pass_and_strikes_so_often_as_it_says() {
        let mut faults = Faults::default();
        let kind = FaultKind::Lost;
        let fault = |action, region| Fault { action, region, after: 0, times: None, kind: kind.clone() };
        faults.add(Fault { after: 1, times: Some(2), ..fault(Some("A".to_owned()), None) });
        let struck: Vec<_> =
            ["B", "A", "A", "B", "A", "A"].map(|action| faults.strike(action, None).is_some()).to_vec();
        assert_eq!(struck, [false, false, true, false, true, false]);
        faults.add(fault(None, None));
        assert!(faults.strike("B", None).is_some() && faults.strike("A", Some("cn-hangzhou")).is_some());
        faults.clear();
        assert_eq!(faults.strike("A", None), None);
        faults.add(fault(Some("A".to_owned()), Some("cn-hangzhou".to_owned())));
        let struck = [("A", Some("cn-hangzhou")), ("A", Some("cn-shanghai")), ("A", None), ("B", Some("cn-hangzhou"))];
        assert_eq!(struck.map(|(action, region)| faults.strike(action, region).is_some()), [true, false, false, false]);
    }

    #[test]
    fn a_rule_is_read_from_the_json_that_the_admin_api_documents() {
        let text = r#"{"action":"X","region":"cn-hangzhou","times":1,"kind":{"type":"Throttle","retry_after_ms":250}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.region.as_deref(), Some("cn-hangzhou"));
        assert_eq!(fault.kind, FaultKind::Throttle { retry_after_ms: Some(250) });
        assert!(serde_json::from_str::<Fault>(r#"{"kind":{"type":"Nonsense"}}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"acton":"X","kind":{"type":"Lost"}}"#).is_err());
    }
}
