//! The metadata of the instance.

use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::Value;

use super::cloud::*;
use test_support::requests::*;

#[tokio::test]
async fn instance_metadata_issues_keys_of_its_role() {
    let cloud = cloud();
    for life in ["0", "21601", "-1", "soon"] {
        let header = [("X-aliyun-ecs-metadata-token-ttl-seconds", life)];
        assert_eq!(metadata(&cloud, "PUT", "/latest/api/token", &header).await.0, 400, "{life}");
    }
    assert_eq!(metadata(&cloud, "PUT", "/latest/api/token", &[]).await.0, 400);
    let (token, brief) = (metadata_token(&cloud, "21600").await, metadata_token(&cloud, "60").await);
    assert_eq!(metadata_get(&cloud, ROOM, &token).await.0, 404, "no role is attached");
    cloud.with_sts(|sts, _| sts.metadata.role_arn = Some(ROLE.to_owned()));
    assert_eq!(metadata_get(&cloud, ROOM, &token).await, (200, "team-a".to_owned()));
    let mine = format!("{ROOM}team-a");
    for path in [ROOM, &mine] {
        assert_eq!(metadata(&cloud, "GET", path, &[]).await.0, 403, "{path} without a token");
        assert_eq!(metadata_get(&cloud, path, "other").await.0, 403, "{path} with an unknown one");
    }
    assert_eq!(metadata_get(&cloud, &format!("{ROOM}team-b"), &token).await.0, 404);
    assert_eq!(metadata_get(&cloud, "/latest/meta-data/instance-id", &token).await.0, 404);

    let get = async |token: &str| {
        let (status, body) = metadata_get(&cloud, &mine, token).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let first = get(&token).await;
    assert_eq!(first["Code"], "Success");
    let at = |name: &str| first[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(at("Expiration") - at("LastUpdated"), 6 * 3600);
    assert_eq!(get(&brief).await["AccessKeyId"], first["AccessKeyId"]);
    let key = Key::of(&first);
    assert_eq!(uses(&cloud, &key).await, thrice(200, ""));
    cloud.set_clock_offset_ms(3 * 3_600_000);
    assert_eq!(metadata_get(&cloud, &mine, &brief).await.0, 403, "the token is over");
    let second = get(&token).await;
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(uses(&cloud, &key).await, thrice(200, ""), "the first lives on");
    cloud.set_clock_offset_ms(6 * 3_600_000);
    assert_eq!(uses(&cloud, &key).await, thrice(400, "InvalidSecurityToken.Expired"));

    cloud.clear_requests();
    let kind = FaultKind::Error { status: 503, code: "x".to_owned(), message: "x".to_owned(), pascal_case: true };
    cloud.add_fault(Fault::new(kind).of_action("PutMetadataToken").times(1));
    let header = [("X-aliyun-ecs-metadata-token-ttl-seconds", "60")];
    assert_eq!(metadata(&cloud, "PUT", "/latest/api/token", &header).await.0, 503);
    cloud.set_denied_actions(["*"]);
    let token = metadata_token(&cloud, "60").await;
    metadata_get(&cloud, ROOM, &token).await;
    metadata_get(&cloud, &mine, &token).await;
    let records: Vec<_> = cloud.requests().into_iter().map(|it| (it.action, it.status, it.changing)).collect();
    let expected = [
        ("PutMetadataToken", 503),
        ("PutMetadataToken", 200),
        ("GetMetadataRole", 200),
        ("GetMetadataCredentials", 200),
    ];
    assert_eq!(records, expected.map(|(action, status)| (action.to_owned(), status, false)));
}
