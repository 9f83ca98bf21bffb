//! Faults that the simulator injects. A fault is a value: what happens, where, when and how often. Tests, the admin API
//! and long runs add the same values.

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
    /// The end of the affected paths, such as `/checkpoints/7`; any when absent.
    #[serde(default)]
    pub path: Option<String>,
    /// The number of matching requests that the simulator serves normally first.
    #[serde(default)]
    pub after: u32,
    /// The number of requests that the fault then affects; all when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// The part of the requests that it affects, in percent, the same ones in every run; all when absent.
    #[serde(default)]
    pub percent: Option<u8>,
    /// The time that the fault lasts from its addition, ms; without end when absent.
    #[serde(default)]
    pub for_ms: Option<u32>,
    /// The effect.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault of every request that its kind can affect.
    pub fn new(kind: FaultKind) -> Fault {
        Fault { action: None, region: None, path: None, after: 0, times: None, percent: None, for_ms: None, kind }
    }

    /// The same fault, of one action only.
    #[must_use]
    pub fn of_action(self, action: &str) -> Fault {
        Fault { action: Some(action.to_owned()), ..self }
    }

    /// The same fault, in one region only.
    #[must_use]
    pub fn in_region(self, region: &str) -> Fault {
        Fault { region: Some(region.to_owned()), ..self }
    }

    /// The same fault, of a part of the requests.
    #[must_use]
    pub fn of_percent(self, percent: u8) -> Fault {
        Fault { percent: Some(percent), ..self }
    }

    /// The same fault, of requests whose path ends like this.
    #[must_use]
    pub fn of_path(self, end: &str) -> Fault {
        Fault { path: Some(end.to_owned()), ..self }
    }

    /// The same fault, after so many matching requests that the simulator serves normally.
    #[must_use]
    pub fn after(self, requests: u32) -> Fault {
        Fault { after: requests, ..self }
    }

    /// The same fault, of so many requests.
    #[must_use]
    pub fn times(self, requests: u32) -> Fault {
        Fault { times: Some(requests), ..self }
    }

    /// The same fault, for so many ms from its addition.
    #[must_use]
    pub fn lasting_ms(self, ms: u32) -> Fault {
        Fault { for_ms: Some(ms), ..self }
    }
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
    /// An error after the simulator executed the request, like a gateway timeout or `LastTokenProcessing`.
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
    /// The connection breaks, and the simulator executes the request later, when the caller has given up. Changing
    /// requests only.
    ExecutedLate {
        /// The delay of the execution, ms.
        ms: u32,
    },
    /// The simulator accepts the request with a normal answer, and its effect never comes. Changing requests only.
    NoEffect,
    /// The simulator executes the request twice at once, as when an intermediary sends it a second time, and gives the
    /// first answer. A create call without a client token then creates two resources. Rate limit, nonce and record count
    /// one request. Changing requests only.
    Twice,
    /// A page of HTML, as from a proxy; the simulator does not execute the request.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// HTTP 200 with truncated JSON; the simulator does not execute the request.
    Garbage,
    /// HTTP 200 with `success: false`; the simulator does not execute the request.
    SuccessFalse { code: String, message: String },
    /// Reads show a past state: that of `lag_ms` ago, or the one when the fault was added as long as that is younger.
    Stale {
        /// The age of the state, ms, to one sixteenth of it.
        lag_ms: u32,
    },
    /// Reads show the state as it was when the fault was added: progress and recovery points stand still.
    Frozen {
        /// Show the state of this time instead, ms since the epoch, as far as [`Config::history_ms`](super::Config) kept
        /// it.
        #[serde(default)]
        at_ms: Option<i64>,
    },
    /// Reads do not show these resources: lists lack them, and a request for one of them does not find it.
    Gap {
        /// IDs of plans, items, checkpoints, groups, pairs or drills; every one when empty.
        #[serde(default)]
        ids: Vec<String>,
        /// Whether the total of a list still counts them.
        #[serde(default)]
        counted: bool,
    },
    /// The order of a list changes between two pages, so that a page begins later than the one before it ended; the
    /// entries of the beginning come again at the end. The total is right.
    ShiftedPages {
        /// The number of entries that no page shows, for each page after the first.
        by: u32,
    },
    /// Reads show this status for these resources, whatever their status is.
    UnknownStatus {
        /// IDs of plans, items, groups or pairs; every one when empty.
        #[serde(default)]
        ids: Vec<String>,
        /// The status, such as `MIGRATING`.
        status: String,
    },
    /// Reads show these checkpoints without `consumeTimestamp` in `progressData`, on both sides; `lastSyncTime` stays.
    WithoutTimestamps {
        /// IDs of checkpoints; every one when empty.
        #[serde(default)]
        ids: Vec<String>,
    },
    /// Reads show these checkpoints without `lastFetchTime` on both sides.
    WithoutFetchTimes {
        /// IDs of checkpoints; every one when empty.
        #[serde(default)]
        ids: Vec<String>,
    },
    /// Reads show the progress and `lastFetchTime` of these checkpoints as they were when the fault was added, on both
    /// sides; `lastSyncTime` and which checkpoints exist are those of now.
    FrozenProgress {
        /// IDs of checkpoints; every one when empty.
        #[serde(default)]
        ids: Vec<String>,
    },
    /// GetConsumerGroupLag answers without these topics in `topicLagMap`; `totalLag` counts them.
    WithoutTopics {
        /// Names of topics; every one when empty.
        #[serde(default)]
        ids: Vec<String>,
    },
}

impl FaultKind {
    /// A business error that the simulator answers without executing the request, in the casing of the product.
    pub fn refusal(status: u16, code: &str) -> FaultKind {
        FaultKind::Error { status, code: code.to_owned(), message: "injected".to_owned(), pascal_case: false }
    }

    /// The value of [`RequestRecord::fault`](super::RequestRecord::fault).
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Error { .. } => "Error",
            FaultKind::ErrorAfter { .. } => "ErrorAfter",
            FaultKind::Throttle { .. } => "Throttle",
            FaultKind::Slow { .. } => "Slow",
            FaultKind::ReplyLost => "ReplyLost",
            FaultKind::Lost => "Lost",
            FaultKind::ExecutedLate { .. } => "ExecutedLate",
            FaultKind::NoEffect => "NoEffect",
            FaultKind::Twice => "Twice",
            FaultKind::Html { .. } => "Html",
            FaultKind::Garbage => "Garbage",
            FaultKind::SuccessFalse { .. } => "SuccessFalse",
            FaultKind::Stale { .. } => "Stale",
            FaultKind::Frozen { .. } => "Frozen",
            FaultKind::Gap { .. } => "Gap",
            FaultKind::ShiftedPages { .. } => "ShiftedPages",
            FaultKind::UnknownStatus { .. } => "UnknownStatus",
            FaultKind::WithoutTimestamps { .. } => "WithoutTimestamps",
            FaultKind::WithoutFetchTimes { .. } => "WithoutFetchTimes",
            FaultKind::FrozenProgress { .. } => "FrozenProgress",
            FaultKind::WithoutTopics { .. } => "WithoutTopics",
        }
    }

    /// Whether it can affect a request that changes the cloud, or one that reads.
    pub(super) fn affects(&self, changing: bool) -> bool {
        match self {
            FaultKind::ExecutedLate { .. } | FaultKind::NoEffect | FaultKind::Twice => changing,
            FaultKind::Stale { .. }
            | FaultKind::Frozen { .. }
            | FaultKind::Gap { .. }
            | FaultKind::ShiftedPages { .. }
            | FaultKind::UnknownStatus { .. }
            | FaultKind::WithoutTimestamps { .. }
            | FaultKind::WithoutFetchTimes { .. }
            | FaultKind::FrozenProgress { .. }
            | FaultKind::WithoutTopics { .. } => !changing,
            FaultKind::Error { .. }
            | FaultKind::ErrorAfter { .. }
            | FaultKind::Throttle { .. }
            | FaultKind::Slow { .. }
            | FaultKind::ReplyLost
            | FaultKind::Lost
            | FaultKind::Html { .. }
            | FaultKind::Garbage
            | FaultKind::SuccessFalse { .. } => true,
        }
    }

    /// Whether the simulator executes an affected request before it answers.
    pub(super) fn executes(&self) -> bool {
        match self {
            FaultKind::ErrorAfter { .. }
            | FaultKind::Slow { .. }
            | FaultKind::ReplyLost
            | FaultKind::Twice
            | FaultKind::Stale { .. }
            | FaultKind::Frozen { .. }
            | FaultKind::Gap { .. }
            | FaultKind::ShiftedPages { .. }
            | FaultKind::UnknownStatus { .. }
            | FaultKind::WithoutTimestamps { .. }
            | FaultKind::WithoutFetchTimes { .. }
            | FaultKind::FrozenProgress { .. }
            | FaultKind::WithoutTopics { .. } => true,
            FaultKind::Error { .. }
            | FaultKind::Throttle { .. }
            | FaultKind::Lost
            | FaultKind::ExecutedLate { .. }
            | FaultKind::NoEffect
            | FaultKind::Html { .. }
            | FaultKind::Garbage
            | FaultKind::SuccessFalse { .. } => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests {
    use super::*;

    #[test]
    fn fault_json_parses_as_documented() {
        let text = r#"{"action":"X","region":"cn-hangzhou","times":1,"kind":{"type":"Throttle","retry_after_ms":250}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.region.as_deref(), Some("cn-hangzhou"));
        assert_eq!(fault.kind, FaultKind::Throttle { retry_after_ms: Some(250) });
        let gap: Fault = serde_json::from_str(r#"{"for_ms":9000,"kind":{"type":"Gap","ids":["7"]}}"#).unwrap();
        assert_eq!(gap, Fault::new(FaultKind::Gap { ids: vec!["7".to_owned()], counted: false }).lasting_ms(9_000));
        for (text, kind) in [
            (r#"{"type":"Twice"}"#, FaultKind::Twice),
            (
                r#"{"type":"UnknownStatus","status":"MIGRATING"}"#,
                FaultKind::UnknownStatus { ids: Vec::new(), status: "MIGRATING".to_owned() },
            ),
            (r#"{"type":"WithoutTimestamps"}"#, FaultKind::WithoutTimestamps { ids: Vec::new() }),
            (r#"{"type":"WithoutTimestamps","ids":["7"]}"#, FaultKind::WithoutTimestamps { ids: vec!["7".to_owned()] }),
            (r#"{"type":"WithoutFetchTimes"}"#, FaultKind::WithoutFetchTimes { ids: Vec::new() }),
            (r#"{"type":"FrozenProgress","ids":["7"]}"#, FaultKind::FrozenProgress { ids: vec!["7".to_owned()] }),
            (r#"{"type":"WithoutTopics","ids":["t"]}"#, FaultKind::WithoutTopics { ids: vec!["t".to_owned()] }),
        ] {
            assert_eq!(serde_json::from_str::<FaultKind>(text).unwrap(), kind, "{text}");
        }
        assert!(serde_json::from_str::<FaultKind>(r#"{"type":"UnknownStatus"}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"kind":{"type":"Nonsense"}}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"acton":"X","kind":{"type":"Lost"}}"#).is_err());
    }
}
