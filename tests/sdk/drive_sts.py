"""Drives the simulator's token service and metadata with Alibaba Cloud's own SDK and credentials library, and ends with 1 at
the first thing that is not as they expect. The simulator is started with --role, --oidc-provider and --ecs-role, see below.

AssumeRole of the credentials library is left out: it signs as before ACS3 (HMAC-SHA1), which the simulator does not know.

Usage: drive_sts.py http://127.0.0.1:PORT KEY_ID KEY_SECRET
"""

import base64
import json
import sys
import tempfile
import time

from alibabacloud_credentials.provider import ecs_ram_role, oidc
from alibabacloud_ebs20210730 import models as ebs
from alibabacloud_ebs20210730.client import Client as EbsClient
from alibabacloud_rocketmq20220801 import models as rocketmq
from alibabacloud_sts20150401 import models
from alibabacloud_sts20150401.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from drive import admin, broken, client, refused, same

ROLE = "acs:ram::1234567890123456:role/dr"
GUARDED = "acs:ram::1234567890123456:role/guarded"
PROVIDER = "acs:ram::1234567890123456:oidc-provider/ack"
SUBJECT = "system:serviceaccount:team-a:dr"


def token(**changes):
    """A JWT as a cluster makes it for a service account."""
    now = int(time.time())
    claims = {"iss": "https://issuer", "sub": SUBJECT, "aud": ["sts.aliyuncs.com"], "iat": now, "exp": now + 600}
    parts = [json.dumps({"alg": "RS256", "kid": "k"}).encode(), json.dumps({**claims, **changes}).encode(), b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def uses(endpoint, key_id, secret, security_token):
    """Calls the two products with a key."""
    client(endpoint, key_id, secret, security_token).list_disaster_recovery_plans(
        rocketmq.ListDisasterRecoveryPlansRequest())
    EbsClient(Config(access_key_id=key_id, access_key_secret=secret, security_token=security_token, endpoint=endpoint,
                     protocol="http", region_id="cn-hangzhou")).describe_disk_replica_groups(
        ebs.DescribeDiskReplicaGroupsRequest(region_id="cn-hangzhou"))


def drive(base, key_id, secret):
    endpoint = base.removeprefix("http://")

    def sts(key_id, secret, security_token=None):
        return Client(Config(access_key_id=key_id, access_key_secret=secret, security_token=security_token,
                             endpoint=endpoint, protocol="http", region_id="cn-hangzhou"))

    def assume(cloud, role=ROLE, **fields):
        return cloud.assume_role(models.AssumeRoleRequest(role_arn=role, **{"role_session_name": "drive", **fields})).body

    def with_oidc(text, role=ROLE, provider=PROVIDER, **fields):
        request = models.AssumeRoleWithOIDCRequest(
            role_arn=role, oidcprovider_arn=provider, oidctoken=text, **{"role_session_name": "drive", **fields})
        # It needs no key.
        return Client(Config(endpoint=endpoint, protocol="http", region_id="cn-hangzhou")).assume_role_with_oidc(
            request).body

    def good(what, body, name="drive"):
        """Uses the key of an answer."""
        same(body.assumed_role_user.arn, f"acs:ram::1234567890123456:assumed-role/dr/{name}", what)
        key = body.credentials
        same((bool(body.request_id), key.access_key_id[:4]), (True, "STS."), what)
        time.strptime(key.expiration, "%Y-%m-%dT%H:%M:%SZ")
        uses(endpoint, key.access_key_id, key.access_key_secret, key.security_token)
        print(f"ok {what}")
        return key.access_key_id, key.access_key_secret, key.security_token

    cloud = sts(key_id, secret)
    key = good("AssumeRole", assume(cloud, duration_seconds=900, policy='{"Version": "1", "Statement": []}'))
    good("AssumeRole by an issued key", assume(sts(*key)))
    body = with_oidc(token(), duration_seconds=900)
    good("AssumeRoleWithOIDC", body)
    found = body.oidctoken_info
    same((found.subject, found.issuer, found.client_ids, found.verification_info),
         (SUBJECT, "https://issuer", "sts.aliyuncs.com", "Success"), "the token's info")
    for text in [found.expiration_time, found.issuance_time]:
        time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")

    # What is refused.
    admin(base, "POST", "/roles", {"arn": GUARDED, "trustedCallers": [key_id], "externalId": "tenant-a",
                                   "trustedSubjects": {PROVIDER: ["system:serviceaccount:team-b:*"]}})
    refused("no external id", lambda: assume(cloud, GUARDED), 403, "NoPermission")
    refused("a wrong external id", lambda: assume(cloud, GUARDED, external_id="tenant-b"), 403, "NoPermission")
    assume(cloud, GUARDED, external_id="tenant-a")
    refused("an untrusted caller", lambda: assume(sts(*key), GUARDED, external_id="tenant-a"), 403, "NoPermission")
    refused("an unknown role", lambda: assume(cloud, ROLE + "x"), 404, "EntityNotExist.Role")
    refused("no role", lambda: assume(cloud, "dr"), 400, "InvalidParameter.RoleArn")
    refused("a wrong session", lambda: assume(cloud, role_session_name="a b"), 400, "InvalidParameter.RoleSessionName")
    refused("a long session", lambda: assume(cloud, duration_seconds=3601), 400, "InvalidParameter.DurationSeconds")
    refused("no session", lambda: assume(cloud, role_session_name=None), 400, "MissingRoleSessionName")
    refused("a wrong secret", lambda: assume(sts(key_id, secret + "x")), 400, "SignatureDoesNotMatch")
    refused("an expired OIDC token", lambda: with_oidc(token(exp=int(time.time()) - 1)), 401,
            "AuthenticationFail.OIDCToken.Expired")
    refused("a wrong audience", lambda: with_oidc(token(aud="other")), 401,
            "AuthenticationFail.OIDCToken.AudienceNotMatch")
    refused("no OIDC token", lambda: with_oidc("no token"), 401, "AuthenticationFail.OIDCToken.Invalid")
    refused("an unknown role by OIDC", lambda: with_oidc(token(), ROLE + "x"), 404, "EntityNotExist.Role")
    refused("an unknown provider", lambda: with_oidc(token(), provider=PROVIDER + "x"), 404,
            "EntityNotExist.OIDCProvider")
    refused("an untrusted subject", lambda: with_oidc(token(), GUARDED), 401, "AuthenticationFail.NoPermission")
    wrong = {"type": "Error", "status": 401, "code": "AuthenticationFail.OIDCToken.InvalidSignature", "message": "wrong"}
    admin(base, "POST", "/faults", {"action": "AssumeRoleWithOIDC", "times": 1, "kind": wrong})
    refused("a forged OIDC token", lambda: with_oidc(token()), 401, wrong["code"])
    admin(base, "POST", "/denied", {"actions": ["AssumeRole"]})
    error = refused("what is not allowed", lambda: assume(cloud), 403, "NoPermission")
    same(bool(error.access_denied_detail), True, "the detail of a denial")
    admin(base, "POST", "/denied", {"actions": []})
    admin(base, "POST", "/faults", {"times": 1, "kind": {"type": "Lost"}})
    broken("a lost request", lambda: with_oidc(token()))

    # The end of keys.
    admin(base, "POST", "/token-life", {"lifeMs": 60_000})
    short = good("a short life", assume(cloud))
    admin(base, "POST", "/clock", {"offsetMs": 60_000})
    refused("a key that is over", lambda: uses(endpoint, *short), 400, "InvalidSecurityToken.Expired")
    admin(base, "POST", "/clock", {"offsetMs": 0})
    uses(endpoint, *key)
    admin(base, "POST", "/revoke", {"role": ROLE})
    refused("a revoked key", lambda: uses(endpoint, *key), 400, "InvalidSecurityToken.Expired")
    refused("a key without its token", lambda: uses(endpoint, *key[:2], None), 400, "MissingSecurityToken")
    refused("an unknown issued key", lambda: uses(endpoint, "STS.unknown", *key[1:]), 404, "InvalidAccessKeyId.NotFound")
    admin(base, "POST", "/token-life", {"lifeMs": None})

    by_library(base, endpoint)
    for record in admin(base, "GET", "/requests"):
        shown = json.dumps(record)
        if "c2lnbmF0dXJl" in shown or "CAIS" in shown:
            raise AssertionError(f"a token was recorded: {shown}")


def by_library(base, endpoint):
    """The credentials library, which hard-codes https for the token service and the address of the metadata."""
    send = oidc.TeaCore.do_action

    def without_tls(request, options=None):
        request.protocol = "http"
        return send(request, options)

    oidc.TeaCore.do_action = staticmethod(without_tls)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(token())
        file.flush()
        provider = oidc.OIDCRoleArnCredentialsProvider(
            role_arn=ROLE, oidc_provider_arn=PROVIDER, oidc_token_file_path=file.name, sts_endpoint=endpoint)
        found = provider.get_credentials()
    uses(endpoint, found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token())
    print("ok the library's provider for OIDC")

    for name in [None, "node"]:
        instance = ecs_ram_role.EcsRamRoleCredentialsProvider(
            role_name=name, disable_imds_v1=True, async_update_enabled=False)
        instance._EcsRamRoleCredentialsProvider__metadata_service_host = endpoint
        found = instance.get_credentials()
        uses(endpoint, found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token())
        same(6 * 3600 - 60 < found.get_expiration() - time.time() <= 6 * 3600, True, "the end of the instance's key")
    keys = admin(base, "GET", "/issued-keys")
    same(sum(key["roleArn"].endswith(":role/node") for key in keys), 1, "the instance's keys")
    print("ok the library's provider for the role of an instance")


if __name__ == "__main__":
    drive(*sys.argv[1:4])
    print("all as the SDK expects")
