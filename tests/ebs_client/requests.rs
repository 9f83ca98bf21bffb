//! The EBS client against a small service that notes what arrives and answers what the documentation prints.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use disaster_recovery_operator::cloud::client::{Client, Target, from_service};
use disaster_recovery_operator::cloud::credentials::Credentials;
use disaster_recovery_operator::cloud::credentials::signer::Signer;
use disaster_recovery_operator::cloud::ebs::{
    self, ClientToken, DrillDiskStatus, DrillStatus, Ebs, GroupChange, NewGroup, NewPair, Pairs, ReplicationStatus,
    SiteRole, Tag,
};
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::list::List;
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::cloud::rate_limit::{Priority, RateLimit};
use disaster_recovery_operator::cloud::{endpoint, sign};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

const SECRET: &str = "FAKE-AK-SECRET-FOR-VECTORS";

/// One request as it came.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    path: String,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Action, host and region.
    fn route(&self) -> (&str, &str, &str) {
        (self.header("x-acs-action"), self.header("host"), self.param("RegionId").unwrap_or_default())
    }
}

/// What is answered: status and body. Status 0 ends the answer in the middle.
type Script = VecDeque<(u16, String)>;

#[derive(Clone, Default)]
struct Service {
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
}

impl Service {
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(key, value)| (decode(key), decode(value))).collect();
        let path = parts.uri.path().to_owned();
        self.seen.lock().unwrap().push(Seen { method: parts.method, path, query, headers: parts.headers, body });
        let (status, body) = self.script.lock().unwrap().pop_front().expect("one more call than there are answers");
        if status == 0 {
            let pieces = [Ok(body), Err(std::io::Error::other("connection reset"))];
            return Response::new(Body::from_stream(futures::stream::iter(pieces)));
        }
        Response::builder().status(status).body(Body::from(body)).unwrap()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A client from Shanghai to Beijing, and its service with these answers.
fn ebs(answers: impl IntoIterator<Item = (u16, Value)>) -> (Ebs, Service) {
    let script: Script = answers.into_iter().map(|(status, body)| (status, body.to_string())).collect();
    let service = Service { script: Arc::new(Mutex::new(script)), ..Service::default() };
    let answering = service.clone();
    let router = Router::new().fallback(move |request| answering.clone().answer(request));
    let budget = Arc::new(RateLimit::new(1000));
    let client = Client::new(from_service(router), budget, Duration::from_secs(5), Arc::new(|_| {}));
    let target = |region: &str| Target {
        product: ebs::PRODUCT,
        version: ebs::VERSION,
        endpoint: endpoint::ebs(region),
        region: region.into(),
        signer: Some(Signer::fixed(Credentials {
            access_key_id: "FAKE-AK-ID-FOR-VECTORS".into(),
            access_key_secret: SECRET.into(),
            security_token: None,
        })),
        priority: Priority::Change,
    };
    (Ebs::new(client, target("cn-shanghai"), target("cn-beijing")), service)
}

fn token(text: &str) -> ClientToken {
    ClientToken::new(text).unwrap()
}

fn ok() -> (u16, Value) {
    (200, json!({"RequestId": "C123F94F-4E38-19AE-942A-A8D6F44F****"}))
}

fn refusal(status: u16, code: &str) -> (u16, Value) {
    (status, json!({"RequestId": "R", "HostId": "h", "Code": code, "Message": "m"}))
}

fn group(id: &str) -> Value {
    json!({
        "ReplicaGroupId": id, "GroupName": "myreplicagrouptest", "Status": "normal", "Site": "production",
        "SourceRegionId": "cn-shanghai", "SourceZoneId": "cn-shanghai-e", "DestinationRegionId": "cn-beijing",
        "DestinationZoneId": "cn-beijing-a", "PrimaryRegion": "cn-shanghai", "StandbyRegion": "cn-beijing", "RPO": 900,
        "LastRecoverPoint": 1637835114, "PairIds": ["pair-cn-dsa****"], "PairNumber": 1, "EnableRtc": false,
        "Tags": [{"TagKey": "k1", "TagValue": "v1"}], "Bandwidth": 0,
    })
}

/// The query of a vector, and of its form body, with booleans as this client writes them.
fn vector(name: &str) -> (Value, BTreeMap<String, String>) {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../acs3-vectors.json")).unwrap();
    let vector = vectors.into_iter().find(|it| it["name"].as_str().unwrap().starts_with(name)).unwrap();
    let mut query: BTreeMap<String, String> = serde_json::from_value(vector["query"].clone()).unwrap();
    for (key, value) in
        vector["body"].as_str().into_iter().flat_map(|body| body.split('&')).filter_map(|it| it.split_once('='))
    {
        let value = value.replace('+', " ");
        query.insert(key.into(), percent_encoding::percent_decode_str(&value).decode_utf8().unwrap().into());
    }
    for value in query.values_mut().filter(|value| matches!(value.as_str(), "True" | "False")) {
        *value = value.to_lowercase();
    }
    (vector, query)
}

/// That a request is what the vendor's SDK sends, but for telemetry, and that its signature is right.
fn same_as(seen: &Seen, name: &str, without: &[&str]) {
    let (vector, mut query) = vector(name);
    let mut sent = seen.query.clone();
    sent.retain(|key, _| !without.contains(&key.as_str()));
    query.retain(|key, _| !without.contains(&key.as_str()));
    assert_eq!(sent, query, "{name}");
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"), "{name}");
    for header in ["host", "accept", "x-acs-version", "x-acs-action"] {
        assert_eq!(seen.header(header), vector["headers"][header], "{name} {header}");
    }
    assert!(seen.body.is_empty() && !seen.headers.contains_key("content-type"), "{name}");
    let hash = sign::payload_hash(b"");
    assert_eq!(seen.header("x-acs-content-sha256"), hash, "{name}");
    let mut headers: Vec<_> = seen.headers.keys().map(|key| (key.as_str(), seen.header(key.as_str()))).collect();
    headers.retain(|(key, _)| *key != "authorization");
    let query: Vec<_> = seen.query.iter().collect();
    let canonical = sign::canonical_request("POST", "/", &query, &headers, &hash);
    let authorization = sign::authorization("FAKE-AK-ID-FOR-VECTORS", SECRET, &canonical);
    assert_eq!(seen.header("authorization"), authorization, "{name}");
}

#[tokio::test]
async fn requests_are_those_of_the_vectors() {
    let created = json!({"RequestId": "R", "ReplicaGroupId": "pg-myreplica****"});
    let (ebs, service) = ebs([ok(), ok(), (200, created)]);
    // The vector was signed for Shanghai, which is the standby site of the reversed group.
    let reversed = ebs.clone().reversed();
    reversed.reprotect_group("pg-myreplica****", true, &token("tok 1/a~b*c+d")).await.unwrap();
    ebs.start_group("pg-x y*", false, &token("t")).await.unwrap();
    let group = NewGroup {
        source_zone_id: "cn-shanghai-e".into(),
        destination_zone_id: "cn-beijing-a".into(),
        group_name: Some("组 a".into()),
        rpo: Some(900),
        enable_rtc: Some(false),
        tags: vec![Tag { key: "k1".into(), value: "v1".into() }],
        ..NewGroup::default()
    };
    assert_eq!(ebs.create_group(&group, &token("t")).await.unwrap(), "pg-myreplica****");
    let seen = service.seen();
    same_as(&seen[0], "V2", &[]);
    same_as(&seen[1], "V4", &["ClientToken"]);
    same_as(&seen[2], "V5", &["ClientToken"]);
}

#[tokio::test]
async fn every_change_has_its_region_and_token() {
    let drill = (200, json!({"RequestId": "R", "DrillId": "drill-1"}));
    let pair = (200, json!({"RequestId": "R", "ReplicaPairId": "pair-1", "OrderId": null}));
    let (ebs, service) = ebs([ok(), ok(), ok(), ok(), ok(), ok(), ok(), pair, ok(), drill, ok()]);
    let t = token("t");
    let change = GroupChange { description: Some("d".into()), ..GroupChange::default() };
    ebs.modify_group("pg-1", &change, &t).await.unwrap();
    ebs.start_group("pg-1", true, &t).await.unwrap();
    ebs.stop_group("pg-1", &t).await.unwrap();
    ebs.failover_group("pg-1", &t).await.unwrap();
    ebs.reprotect_group("pg-1", false, &t).await.unwrap();
    ebs.add_pair("pg-1", "pair-1", &t).await.unwrap();
    ebs.remove_pair("pg-1", "pair-1", &t).await.unwrap();
    let new = NewPair { disk_id: "d-1".into(), destination_disk_id: "d-2".into(), ..NewPair::default() };
    assert_eq!(ebs.create_pair(&new, &t).await.unwrap(), "pair-1");
    ebs.delete_pair("pair-1", &t).await.unwrap();
    assert_eq!(ebs.start_drill("pg-1", &t).await.unwrap(), "drill-1");
    ebs.clear_drill("pg-1", "drill-1").await.unwrap();
    let (shanghai, beijing) =
        (("ebs.cn-shanghai.aliyuncs.com", "cn-shanghai"), ("ebs.cn-beijing.aliyuncs.com", "cn-beijing"));
    let expected = [
        ("ModifyDiskReplicaGroup", shanghai, "Description", "d"),
        ("StartDiskReplicaGroup", shanghai, "OneShot", "true"),
        ("StopDiskReplicaGroup", shanghai, "ReplicaGroupId", "pg-1"),
        ("FailoverDiskReplicaGroup", beijing, "ReplicaGroupId", "pg-1"),
        ("ReprotectDiskReplicaGroup", beijing, "ReverseReplicate", "false"),
        ("AddDiskReplicaPair", shanghai, "ReplicaPairId", "pair-1"),
        ("RemoveDiskReplicaPair", shanghai, "ReplicaPairId", "pair-1"),
        ("CreateDiskReplicaPair", shanghai, "DestinationRegionId", "cn-beijing"),
        ("DeleteDiskReplicaPair", shanghai, "ReplicaPairId", "pair-1"),
        ("StartReplicaGroupDrill", beijing, "GroupId", "pg-1"),
        ("ClearReplicaGroupDrill", beijing, "DrillId", "drill-1"),
    ];
    let seen = service.seen();
    assert_eq!(seen.len(), expected.len());
    for (seen, (action, (host, region), key, value)) in seen.iter().zip(expected) {
        assert_eq!(seen.route(), (action, host, region));
        assert_eq!(seen.param(key), Some(value), "{action}");
        let token = if action == "ClearReplicaGroupDrill" { None } else { Some("t") };
        assert_eq!(seen.param("ClientToken"), token, "{action}");
    }
}

#[tokio::test]
async fn lists_are_read_by_token_to_the_end() {
    let page = |ids: &[&str], next: Value| {
        let groups: Vec<_> = ids.iter().map(|id| group(id)).collect();
        (200, json!({"RequestId": "R", "ReplicaGroups": groups, "NextToken": next, "TotalCount": 1, "PageSize": 2}))
    };
    let (ebs, service) =
        ebs([page(&["pg-1", "pg-2"], json!("n1")), page(&[], json!("n2")), page(&["pg-3"], json!(""))]);
    let List::Complete(groups) = ebs.groups(SiteRole::Standby, &[]).await.unwrap() else { panic!("incomplete") };
    let ids: Vec<_> = groups.iter().map(|group| group.replica_group_id.as_str()).collect();
    assert_eq!(ids, ["pg-1", "pg-2", "pg-3"]);
    assert_eq!((&groups[0].status, groups[0].last_recover_point), (&ReplicationStatus::Normal, Some(1637835114)));
    let seen = service.seen();
    let tokens: Vec<_> = seen.iter().map(|seen| (seen.param("NextToken"), seen.param("MaxResults"))).collect();
    assert_eq!(tokens, [(None, Some("500")), (Some("n1"), Some("500")), (Some("n2"), Some("500"))]);
    assert_eq!(seen[0].route().2, "cn-beijing");
}

#[tokio::test]
async fn lists_without_tokens_are_read_by_number() {
    let page = |ids: &[&str]| {
        let pairs: Vec<_> = ids.iter().map(|id| json!({"ReplicaPairId": id, "Status": "initial_syncing"})).collect();
        (200, json!({"ReplicaPairs": pairs, "TotalCount": 3, "PageNumber": 1, "PageSize": 2}))
    };
    let (ebs, service) = ebs([page(&["a", "b"]), page(&["a", "b"]), page(&["c"])]);
    let List::Complete(pairs) = ebs.pairs(SiteRole::Production, Pairs::Ungrouped).await.unwrap() else {
        panic!("incomplete")
    };
    assert_eq!(pairs.len(), 3);
    assert_eq!(pairs[0].status, ReplicationStatus::InitialSyncing);
    let seen = service.seen();
    let numbers: Vec<_> = seen.iter().map(|seen| seen.param("PageNumber")).collect();
    assert_eq!(numbers, [None, Some("1"), Some("2")]);
    assert!(seen.iter().all(|seen| seen.param("ReplicaGroupId") == Some("-")));
}

#[tokio::test]
async fn changing_list_is_read_a_few_times() {
    let page = |next: &str| (200, json!({"ReplicaGroups": [group("pg-1")], "NextToken": next}));
    let changed = [page("n1"), page("")];
    let (ebs, service) = ebs([changed.clone(), changed.clone(), changed].concat());
    let list = ebs.groups(SiteRole::Production, &[]).await.unwrap();
    assert_eq!((list.is_complete(), list.entries().len(), service.seen().len()), (false, 1, 6));
    let error = list.complete(ApiOperation::DescribeDiskReplicaGroups).unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "Incomplete"));
}

#[tokio::test]
async fn incomplete_list_does_not_prove_absence() {
    // The total counts a group that no page shows.
    let page = (200, json!({"ReplicaGroups": [], "TotalCount": 1, "PageNumber": 1, "PageSize": 100}));
    let (ebs, _) = ebs(vec![page; 6]);
    let error = ebs.group(SiteRole::Production, "pg-1").await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "Incomplete"));
}

#[tokio::test]
async fn item_absent_from_lists_does_not_exist() {
    let empty = |list: &str| (200, json!({list: [], "TotalCount": 0, "PageNumber": 1, "PageSize": 10}));
    let (ebs, service) = ebs([empty("ReplicaGroups"), empty("ReplicaPairs")]);
    assert_eq!(ebs.group(SiteRole::Production, "pg-1").await.unwrap_err().class, Class::NotFound);
    assert_eq!(ebs.pair(SiteRole::Production, "pair-1").await.unwrap_err().class, Class::NotFound);
    assert_eq!(ebs.pairs(SiteRole::Production, Pairs::Ids(&[])).await, Ok(List::Complete(vec![])));
    assert_eq!(service.seen()[0].param("GroupIds"), Some("pg-1"));
}

#[tokio::test]
async fn drills_include_the_result_of_their_disks() {
    let drill = json!({
        "DrillId": "drill-1", "GroupId": "pg-1", "Status": "executed", "RecoverPoint": 1637835114, "StartAt": 1637835200,
        "PairsInfo": [
            {"PairId": "pair-1", "DrillDiskId": "d-9", "DrillDiskStatus": "created"},
            {"PairId": "pair-2", "DrillDiskId": null, "DrillDiskStatus": "QuotaExceed"},
        ],
    });
    let (ebs, _) = ebs([(200, json!({"Drills": [drill], "TotalCount": 1}))]);
    let drills = ebs.drills("pg-1").await.unwrap().into_entries();
    assert_eq!((&drills[0].status, drills[0].recover_point), (&DrillStatus::Executed, Some(1637835114)));
    let disks: Vec<_> = drills[0].pairs_info.iter().map(|pair| pair.drill_disk_status.clone()).collect();
    assert_eq!(disks, [DrillDiskStatus::Created, DrillDiskStatus::Other("QuotaExceed".into())]);
}

async fn failover(answers: impl IntoIterator<Item = (u16, Value)>) -> (Result<(), Error>, Vec<Seen>) {
    let (ebs, service) = ebs(answers);
    let outcome = ebs.failover_group("pg-1", &token("failover-1")).await;
    (outcome, service.seen())
}

#[tokio::test]
async fn lost_answer_is_retried_with_the_same_token() {
    let lost = (0, json!({}));
    for (answers, calls) in
        [(vec![lost.clone(), ok()], 2), (vec![refusal(500, "InternalError"), refusal(504, "RequestTimeout"), ok()], 3)]
    {
        let (outcome, seen) = failover(answers).await;
        outcome.unwrap();
        assert_eq!(seen.len(), calls);
        assert!(seen.iter().all(|it| it.query == seen[0].query && it.param("ClientToken") == Some("failover-1")));
        let nonces: std::collections::BTreeSet<_> = seen.iter().map(|it| it.header("x-acs-signature-nonce")).collect();
        assert_eq!(nonces.len(), calls, "a nonce is used once");
    }
    let (outcome, seen) = failover([lost.clone(), lost.clone(), lost.clone()]).await;
    assert_eq!((outcome.unwrap_err().class, seen.len()), (Class::Ambiguous, 3));
    // The effect of the first call may be the cause of the second's refusal.
    let (outcome, _) = failover([lost.clone(), refusal(403, "OperationDenied.InvalidStatus")]).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Ambiguous, "OperationDenied.InvalidStatus"));
    let (outcome, _) = failover([lost, refusal(404, "NoSuchResource")]).await;
    assert_eq!(outcome.unwrap_err().class, Class::NotFound);
}

#[tokio::test]
async fn refusals_and_calls_without_token_are_sent_once() {
    for (status, code, class) in [
        (403, "OperationDenied.InvalidStatus", Class::Conflict),
        (403, "OperationDenied.QuotaExceed", Class::Invalid),
        (403, "Forbidden.Action", Class::Denied),
        (400, "IdempotentParameterMismatch", Class::Invalid),
        (403, "LastTokenProcessing", Class::Conflict),
        (404, "NoSuchResource", Class::NotFound),
        (400, "Throttling.User", Class::Throttled { after: None }),
    ] {
        let (outcome, seen) = failover([refusal(status, code)]).await;
        assert_eq!((outcome.unwrap_err().class, seen.len()), (class, 1), "{code}");
    }
    let (ebs, service) = ebs([refusal(500, "InternalError")]);
    assert_eq!(ebs.clear_drill("pg-1", "drill-1").await.unwrap_err().class, Class::Ambiguous);
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn creation_answer_without_id_is_ambiguous() {
    let (ebs, _) = ebs([ok(), refusal(404, "NoSuchResource")]);
    assert_eq!(ebs.create_group(&NewGroup::default(), &token("t")).await.unwrap_err().class, Class::Ambiguous);
    // What the new pair refers to does not exist: its disk.
    assert_eq!(ebs.create_pair(&NewPair::default(), &token("t")).await.unwrap_err().class, Class::Invalid);
}

#[test]
fn every_documented_status_is_known_by_its_name() {
    assert_eq!(ReplicationStatus::KNOWN.len(), 19);
    for status in ReplicationStatus::KNOWN {
        assert_eq!(ReplicationStatus::from(status.as_str().to_owned()), *status);
    }
    assert_eq!(ReplicationStatus::from("pausing".to_owned()).as_str(), "pausing");
}
