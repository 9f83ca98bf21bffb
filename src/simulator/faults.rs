//! Faults that the simulator injects.

use serde::{Deserialize, Serialize};

/// A fault. Requests that the simulator refuses for their signature, date, nonce or route do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The affected action, such as `CreateDisasterRecoveryPlan`; any when absent.
    #[serde(default)]
    pub action: Option<String>,
    /// The affected region, as the request itself names it (`RegionId` of EBS, else the host); any when absent. `Lost`
    /// for a region simulates its outage. A request of RocketMQ or STS to a loopback address names no region, nor does
    /// one to the central endpoint of STS.
    #[serde(default)]
    pub region: Option<String>,
    /// The number of matching requests that the simulator serves normally first.
    #[serde(default)]
    pub after: u32,
    /// The number of requests that the fault then affects; all when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// The effect.
    pub kind: FaultKind,
}

/// The effect of a fault on a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum FaultKind {
    /// An error; the simulator does not execute the request.
    Error {
        /// The HTTP status.
        status: u16,
        code: String,
        message: String,
        /// Whether the body is the gateway's (PascalCase) or RocketMQ's own.
        #[serde(default)]
        pascal_case: bool,
    },
    /// An error after the simulator executed the request, like a gateway timeout.
    ErrorAfter {
        /// The HTTP status.
        status: u16,
        code: String,
        message: String,
        /// Whether the body is the gateway's (PascalCase) or RocketMQ's own.
        #[serde(default)]
        pascal_case: bool,
    },
    /// `Throttling.User`, HTTP 400; the simulator does not execute the request.
    Throttle {
        /// The value of `x-acs-retry-after`, ms.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// The simulator executes the request at once and answers late, so that a caller that times out does not know the
    /// result.
    Slow {
        /// The delay of the answer, ms.
        ms: u64,
    },
    /// The simulator executes the request, then breaks the connection.
    ReplyLost,
    /// The connection breaks before the simulator executes the request; the nonce counts as used.
    Lost,
    /// A page of HTML, as from a proxy; the simulator does not execute the request.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// HTTP 200 with truncated JSON; the simulator does not execute the request.
    Garbage,
    /// HTTP 200 with `success: false`; the simulator does not execute the request.
    SuccessFalse { code: String, message: String },
}

impl FaultKind {
    /// The value of [`RequestRecord::fault`](super::RequestRecord::fault).
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

/// The active faults, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the effect on this request: that of the first fault that matches and is not used up. A fault that lets
    /// the request through counts it.
    pub(super) fn apply(&mut self, action: &str, region: Option<&str>) -> Option<FaultKind> {
        for fault in &mut self.0 {
            let elsewhere = fault.region.is_some() && fault.region.as_deref() != region;
            if fault.action.as_deref().is_some_and(|wanted| wanted != action) || elsewhere || fault.times == Some(0) {
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
    fn fault_skips_after_and_applies_times() {
        let mut faults = Faults::default();
        let kind = FaultKind::Lost;
        let fault = |action, region| Fault { action, region, after: 0, times: None, kind: kind.clone() };
        faults.add(Fault { after: 1, times: Some(2), ..fault(Some("A".to_owned()), None) });
        let affected: Vec<_> =
            ["B", "A", "A", "B", "A", "A"].map(|action| faults.apply(action, None).is_some()).to_vec();
        assert_eq!(affected, [false, false, true, false, true, false]);
        faults.add(fault(None, None));
        assert!(faults.apply("B", None).is_some() && faults.apply("A", Some("cn-hangzhou")).is_some());
        faults.clear();
        assert_eq!(faults.apply("A", None), None);
        faults.add(fault(Some("A".to_owned()), Some("cn-hangzhou".to_owned())));
        let affected =
            [("A", Some("cn-hangzhou")), ("A", Some("cn-shanghai")), ("A", None), ("B", Some("cn-hangzhou"))];
        assert_eq!(
            affected.map(|(action, region)| faults.apply(action, region).is_some()),
            [true, false, false, false]
        );
    }

    #[test]
    fn fault_json_parses_as_documented() {
        let text = r#"{"action":"X","region":"cn-hangzhou","times":1,"kind":{"type":"Throttle","retry_after_ms":250}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.region.as_deref(), Some("cn-hangzhou"));
        assert_eq!(fault.kind, FaultKind::Throttle { retry_after_ms: Some(250) });
        assert!(serde_json::from_str::<Fault>(r#"{"kind":{"type":"Nonsense"}}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"acton":"X","kind":{"type":"Lost"}}"#).is_err());
    }
}
