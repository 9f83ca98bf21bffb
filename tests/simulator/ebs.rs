//! The simulator's EBS: hosts, regions, parameters, faults and the admin API.

use disaster_recovery_operator::simulator::model::ebs::DiskRules;
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind, Simulator};
use serde_json::{Value, json};
use test_support::requests::{Endpoint, Key, Pairs, admin, answer, signed};

const HERE: (&str, &str) = ("RegionId", "cn-hangzhou");
const PLACES: [(&str, &str); 3] =
    [("SourceZoneId", "cn-hangzhou-h"), ("DestinationRegionId", "cn-shanghai"), ("DestinationZoneId", "cn-shanghai-b")];

/// Sends a signed request: the status and the body.
async fn send(
    simulator: &Simulator,
    to: Endpoint<'_>,
    action: &str,
    query: Pairs<'_>,
    form: Pairs<'_>,
) -> (u16, Value) {
    answer(simulator, signed(simulator, &Key::usual(), to, (action, "/"), (query, form))).await
}

const POST: Endpoint<'_> = ("POST", "ebs.cn-hangzhou.aliyuncs.com", "2021-07-30");

async fn call(simulator: &Simulator, action: &str, query: Pairs<'_>) -> (u16, Value) {
    send(simulator, POST, action, query, &[]).await
}

async fn create(simulator: &Simulator) -> String {
    let (status, body) = call(simulator, "CreateDiskReplicaGroup", &[&[HERE], &PLACES[..]].concat()).await;
    assert_eq!(status, 200, "{body}");
    body["ReplicaGroupId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn parameters_are_read_from_query_or_form() {
    let simulator = Simulator::new(Config::default());
    let group = create(&simulator).await;
    let (status, body) = send(&simulator, POST, "CreateDiskReplicaGroup", &[HERE], &PLACES).await;
    assert_eq!(status, 200, "{body}");
    for (method, host) in [("GET", POST.1), ("POST", "127.0.0.1:4711"), ("POST", "ebs-vpc.cn-hangzhou.aliyuncs.com")] {
        let query = [HERE, ("GroupIds", group.as_str())];
        let (status, body) = send(&simulator, (method, host, POST.2), "DescribeDiskReplicaGroups", &query, &[]).await;
        assert_eq!((status, &body["TotalCount"]), (200, &json!(1)), "{method} {host}: {body}");
    }
    let records = simulator.requests();
    assert_eq!(records[0].action, "CreateDiskReplicaGroup");
    assert!(records[0].changing && !records[2].changing);
    assert_eq!(records[0].region.as_deref(), Some("cn-hangzhou"));
}

#[tokio::test]
async fn mismatched_requests_are_refused() {
    let simulator = Simulator::new(Config::default());
    let cases = [
        (
            ("POST", "ebs.cn-hangzhou.aliyuncs.com", "2022-08-01"),
            "DescribeDiskReplicaGroups",
            404,
            "InvalidApi.NotFound",
        ),
        (("PUT", POST.1, POST.2), "DescribeDiskReplicaGroups", 404, "InvalidApi.NotFound"),
        (POST, "ListDisasterRecoveryPlans", 404, "InvalidApi.NotFound"),
        (("POST", "ecs.cn-hangzhou.aliyuncs.com", POST.2), "DescribeDiskReplicaGroups", 404, "InvalidProduct.NotFound"),
        (POST, "CreateDiskReplicaGroup", 400, "MissingSourceZoneId"),
    ];
    for (to, action, status, code) in cases {
        let (found, body) = send(&simulator, to, action, &[HERE], &[]).await;
        assert_eq!((found, &body["Code"]), (status, &json!(code)), "{to:?} {action}: {body}");
        assert!(body["RequestId"].is_string() && body["Message"].is_string(), "{body}");
    }
    let (status, body) = call(&simulator, "DescribeDiskReplicaGroups", &[]).await;
    assert_eq!((status, &body["Code"]), (400, &json!("MissingRegionId")));
    for (name, value) in [("PageSize", "101"), ("PageSize", "x"), ("MaxResults", "0"), ("Site", "middle")] {
        let (status, body) = call(&simulator, "DescribeDiskReplicaGroups", &[HERE, (name, value)]).await;
        assert_eq!((status, &body["Code"]), (400, &json!("InvalidParameter")), "{name}={value}");
    }
}

#[tokio::test]
async fn region_parameter_selects_the_region() {
    let simulator = Simulator::new(Config::default());
    let group = create(&simulator).await;
    for (region, sites) in
        [("cn-hangzhou", vec!["production"]), ("cn-shanghai", vec!["backup"]), ("cn-beijing", vec![])]
    {
        let (_, body) = call(&simulator, "DescribeDiskReplicaGroups", &[("RegionId", region)]).await;
        let found: Vec<_> = body["ReplicaGroups"].as_array().unwrap().iter().map(|group| &group["Site"]).collect();
        assert_eq!(found, sites, "{region}");
    }
    for (region, status, code) in
        [("cn-shanghai", 403, "OperationDenied.OperateNotAllowedForStandby"), ("cn-beijing", 404, "NoSuchResource")]
    {
        let query = [("RegionId", region), ("ReplicaGroupId", group.as_str())];
        let (found, body) = call(&simulator, "DeleteDiskReplicaGroup", &query).await;
        assert_eq!((found, &body["Code"]), (status, &json!(code)), "{region}");
    }
}

#[tokio::test]
async fn faults_denials_and_limits_affect_disks() {
    let config = Config { disk_rules: DiskRules { delay_ms: 0, ..DiskRules::default() }, ..Config::default() };
    let simulator = Simulator::new(config);
    simulator.set_denied_actions(["DescribeDiskReplicaGroups"]);
    let (status, body) = call(&simulator, "DescribeDiskReplicaGroups", &[HERE]).await;
    assert_eq!((status, &body["Code"]), (403, &json!("Forbidden.Action")));
    assert!(body["AccessDeniedDetail"].is_object());
    simulator.set_denied_actions::<String>([]);
    let (code, message) = ("InternalError".to_owned(), "later".to_owned());
    let kind = FaultKind::ErrorAfter { status: 500, code, message, pascal_case: false };
    simulator.add_fault(Fault::new(kind).times(1));
    let query = [&[HERE, ("ClientToken", "t")], &PLACES[..]].concat();
    let (status, body) = call(&simulator, "CreateDiskReplicaGroup", &query).await;
    assert_eq!((status, &body["Code"]), (500, &json!("InternalError")), "EBS knows one casing only");
    let (_, first) = call(&simulator, "CreateDiskReplicaGroup", &query).await;
    let groups = simulator.with_disks(|disks, _| disks.inspect().groups);
    assert_eq!(groups.len(), 1);
    assert_eq!(first["ReplicaGroupId"], json!(groups[0].replica_group_id));
    simulator.set_rate_limit(0);
    let (status, body) = call(&simulator, "DescribeDiskReplicaGroups", &[HERE]).await;
    assert_eq!((status, &body["Code"]), (400, &json!("Throttling.User")));
}

#[tokio::test]
async fn regional_fault_affects_its_region_only() {
    let simulator = Simulator::new(Config::default());
    let group = create(&simulator).await;
    let (code, message) = ("ServiceUnavailable", "The region is down.");
    let kind = json!({"type": "Error", "status": 503, "code": code, "message": message});
    let fault = json!({"region": "cn-hangzhou", "kind": kind});
    assert_eq!(admin(&simulator, "POST", "/faults", fault).await.0, 200);
    // Whatever endpoint is asked, the parameter says which region is.
    for (host, region, expected) in [
        (POST.1, "cn-hangzhou", 503),
        ("127.0.0.1:4711", "cn-hangzhou", 503),
        ("ebs.cn-shanghai.aliyuncs.com", "cn-hangzhou", 503),
        (POST.1, "cn-shanghai", 200),
        ("ebs.cn-shanghai.aliyuncs.com", "cn-shanghai", 200),
    ] {
        let query = [("RegionId", region), ("GroupIds", group.as_str())];
        let (status, body) = send(&simulator, ("POST", host, POST.2), "DescribeDiskReplicaGroups", &query, &[]).await;
        assert_eq!(status, expected, "{host} {region}: {body}");
    }
    simulator.clear_faults();
    assert_eq!(call(&simulator, "DescribeDiskReplicaGroups", &[HERE]).await.0, 200);
}

#[tokio::test]
async fn repeated_token_can_find_first_call_in_progress() {
    let simulator = Simulator::new(Config::default());
    let (code, message) = ("LastTokenProcessing".to_owned(), "The last token is being processed.".to_owned());
    let kind = FaultKind::Error { status: 403, code, message, pascal_case: true };
    simulator.add_fault(Fault::new(kind).of_action("CreateDiskReplicaPair").after(1).times(1));
    let disks = [("DiskId", "d-1"), ("DestinationDiskId", "d-2"), ("ClientToken", "t")];
    let query = [&[HERE], &disks[..], &PLACES[..]].concat();
    let (status, first) = call(&simulator, "CreateDiskReplicaPair", &query).await;
    assert_eq!(status, 200, "{first}");
    let (status, body) = call(&simulator, "CreateDiskReplicaPair", &query).await;
    assert_eq!((status, &body["Code"]), (403, &json!("LastTokenProcessing")));
    let (_, again) = call(&simulator, "CreateDiskReplicaPair", &query).await;
    assert_eq!(again["ReplicaPairId"], first["ReplicaPairId"]);
}

#[tokio::test]
async fn the_admin_api_reaches_disks() {
    let simulator = Simulator::new(Config::default());
    let group = create(&simulator).await;
    let path = format!("/disk-groups/{group}");
    let edit = json!({"status": "failovered", "description": "by hand", "lastRecoverPoint": 1_740_724_080});
    assert_eq!(admin(&simulator, "PATCH", &path, edit).await.0, 200);
    let (_, all) = admin(&simulator, "GET", "/disk-groups", Value::Null).await;
    let found = &all["Groups"][0];
    assert_eq!(found["Status"], "failovered");
    assert_eq!(found["Description"], "by hand");
    assert_eq!(found["LastRecoverPoint"], 1_740_724_080);
    for (method, path, body, status) in [
        ("POST", "/disks/d-1", json!({"attached": true}), 200),
        ("POST", "/disk-cycles", json!({"frozen": true}), 200),
        ("PATCH", path.as_str(), json!({"status": "napping"}), 400),
        ("PATCH", "/disk-groups/pg-none", json!({}), 404),
        ("PATCH", "/drills/drill-none", json!({"status": "clear_failed"}), 404),
        ("DELETE", "/disk-pairs/pair-none", Value::Null, 404),
        ("DELETE", path.as_str(), Value::Null, 200),
        ("DELETE", path.as_str(), Value::Null, 404),
    ] {
        assert_eq!(admin(&simulator, method, path, body).await.0, status, "{method} {path}");
    }
    let (_, all) = admin(&simulator, "GET", "/disk-groups", Value::Null).await;
    assert_eq!(all, json!({"Groups": [], "Pairs": [], "Drills": [], "AttachedDisks": ["d-1"], "Violations": []}));
}

#[tokio::test]
async fn violations_are_shown_until_deleted() {
    let disk_rules = DiskRules { failover_before_first_copy: true, ..DiskRules::default() };
    let simulator = Simulator::new(Config { disk_rules, ..Config::default() });
    let group = create(&simulator).await;
    let disks = [("DiskId", "d-1"), ("DestinationDiskId", "d-2")];
    let (_, body) = call(&simulator, "CreateDiskReplicaPair", &[&[HERE], &disks[..], &PLACES[..]].concat()).await;
    let pair = body["ReplicaPairId"].as_str().unwrap();
    let ids = [HERE, ("ReplicaGroupId", group.as_str()), ("ReplicaPairId", pair)];
    assert_eq!(call(&simulator, "AddDiskReplicaPair", &ids).await.0, 200);
    let path = format!("/disk-groups/{group}");
    assert_eq!(admin(&simulator, "PATCH", &path, json!({"status": "stopped"})).await.0, 200);
    // A call whose effect never comes is reported, too: the caller should not have sent it.
    simulator.add_fault(Fault::new(FaultKind::NoEffect).of_action("FailoverDiskReplicaGroup").times(1));
    let failover = [("RegionId", "cn-shanghai"), ("ReplicaGroupId", group.as_str())];
    for _ in 0..2 {
        let (status, body) = call(&simulator, "FailoverDiskReplicaGroup", &failover).await;
        assert_eq!(status, 200, "{body}");
    }
    let (_, found) = admin(&simulator, "GET", "/disk-violations", Value::Null).await;
    assert_eq!(found.as_array().map(Vec::len), Some(2), "{found}");
    for violation in found.as_array().unwrap() {
        assert_eq!((&violation["Kind"], &violation["Disk"]), (&json!("BlankOpened"), &json!("d-2")), "{violation}");
        assert_eq!((&violation["Group"], &violation["Pair"]), (&json!(group), &json!(pair)), "{violation}");
    }
    assert_eq!(admin(&simulator, "DELETE", "/disk-violations", Value::Null).await.0, 200);
    assert_eq!(admin(&simulator, "GET", "/disk-violations", Value::Null).await.1, json!([]));
}
