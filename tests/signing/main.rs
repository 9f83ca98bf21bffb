//! The signature against what others computed: the vectors of the vendor's own SDK, and the two signatures that the
//! documentation prints. The simulator shares the client's idea of a signature, so that only these prove it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::collections::BTreeMap;

use disaster_recovery_operator::cloud::sign;
use serde::Deserialize;

/// One request that the vendor's SDK signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    access_key_id: String,
    access_key_secret: String,
    security_token: Option<String>,
    method: String,
    url: String,
    pathname: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    canonical_request: String,
    canonical_sha256: String,
    string_to_sign: String,
    authorization: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../acs3-vectors.json")).unwrap()
}

#[test]
fn file_has_five_vectors() {
    let names: Vec<_> = vectors().into_iter().map(|it| it.name).collect();
    assert_eq!(names.len(), 5, "{names:?}");
}

#[test]
fn every_vector_is_reproduced_byte_by_byte() {
    for vector in vectors() {
        let Vector { name, .. } = &vector;
        let hash = sign::payload_hash(vector.body.as_deref().unwrap_or_default().as_bytes());
        assert_eq!(vector.headers["x-acs-content-sha256"], hash, "{name}");
        assert_eq!(vector.headers.get("x-acs-security-token"), vector.security_token.as_ref(), "{name}");
        let query: Vec<_> = vector.query.iter().collect();
        let headers: Vec<_> = vector.headers.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let canonical = sign::canonical_request(&vector.method, &vector.pathname, &query, &headers, &hash);
        assert_eq!(canonical.request, vector.canonical_request, "{name}");
        let sha256 = sign::payload_hash(canonical.request.as_bytes());
        assert_eq!(sha256, vector.canonical_sha256, "{name}");
        assert_eq!(format!("{}\n{sha256}", sign::ALGORITHM), vector.string_to_sign, "{name}");
        let authorization = sign::authorization(&vector.access_key_id, &vector.access_key_secret, &canonical);
        assert_eq!(authorization, vector.authorization, "{name}");
        let (_, signature) = authorization.rsplit_once("Signature=").unwrap();
        assert_eq!(sign::signature(&vector.access_key_secret, &canonical.request), signature, "{name}");
    }
}

#[test]
fn header_and_query_order_do_not_change_signature() {
    for vector in vectors() {
        let hash = sign::payload_hash(vector.body.as_deref().unwrap_or_default().as_bytes());
        let query: Vec<_> = vector.query.iter().rev().collect();
        let upper: Vec<_> =
            vector.headers.iter().rev().map(|(key, value)| (key.to_uppercase(), format!("  {value} "))).collect();
        let headers: Vec<_> = upper.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let canonical = sign::canonical_request(&vector.method, &vector.pathname, &query, &headers, &hash);
        assert_eq!(canonical.request, vector.canonical_request, "{}", vector.name);
    }
}

#[test]
fn vector_urls_decode_to_path_and_query() {
    for vector in vectors() {
        let uri: http::Uri = vector.url.parse().unwrap();
        assert_eq!(uri.path(), vector.pathname, "{}", vector.name);
        assert_eq!(uri.host(), Some(vector.headers["host"].as_str()), "{}", vector.name);
        // A space may come as `+` on the wire, never in what is signed.
        let wire = uri.query().unwrap_or_default().replace('+', "%20");
        let query: Vec<_> = vector.query.iter().collect();
        assert_eq!(sign::canonical_query(&query), wire, "{}", vector.name);
    }
}

#[test]
fn both_documented_signatures_are_reproduced() {
    let published = [
        (
            "2023-10-26T10:22:32Z",
            "3156853299f313e23d1673dc12e1703d",
            "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
        ),
        (
            "2023-10-26T09:01:01Z",
            "d410180a5abf7fe235dd9b74aca91fc0",
            "e521358f7776c97df52e6b2891a8bc73026794a071b50c3323388c4e0df64804",
        ),
    ];
    let query = [("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"), ("RegionId", "cn-shanghai")];
    for (date, nonce, signature) in published {
        let hash = sign::payload_hash(b"");
        let headers = [
            ("host", "ecs.cn-shanghai.aliyuncs.com"),
            ("x-acs-action", "RunInstances"),
            ("x-acs-content-sha256", &hash),
            ("x-acs-date", date),
            ("x-acs-signature-nonce", nonce),
            ("x-acs-version", "2014-05-26"),
        ];
        let canonical = sign::canonical_request("POST", "/", &query, &headers, &hash);
        assert_eq!(
            sign::authorization("YourAccessKeyId", "YourAccessKeySecret", &canonical),
            format!(
                "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;\
                 x-acs-date;x-acs-signature-nonce;x-acs-version,Signature={signature}"
            ),
            "{date}"
        );
    }
}
