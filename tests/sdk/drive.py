"""Drives the simulator with Alibaba Cloud's own SDK, every operation, and ends with 1 at the first thing that is not as
the SDK expects. The simulator and the operator's client share their idea of the signature and the wire; this does not.

Usage: drive.py http://127.0.0.1:PORT KEY_ID KEY_SECRET
"""

import json
import sys
import time
import urllib.request

from alibabacloud_rocketmq20220801 import models
from alibabacloud_rocketmq20220801.client import Client
from alibabacloud_tea_openapi.utils_models import Config

OPERATIONS = [
    "CreateDisasterRecoveryPlan", "UpdateDisasterRecoveryPlan", "GetDisasterRecoveryPlan",
    "ListDisasterRecoveryPlans", "DeleteDisasterRecoveryPlan", "AddDisasterRecoveryItem",
    "UpdateDisasterRecoveryItem", "GetDisasterRecoveryItem", "DeleteDisasterRecoveryItem",
    "ListDisasterRecoveryItems", "StartDisasterRecoveryItem", "StopDisasterRecoveryItem",
    "ListDisasterRecoveryCheckpoints", "SyncDisasterRecoveryCheckpoint", "GetConsumerGroupLag",
]


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} instead of {expected!r}")


def good(operation, response):
    """The data of a response that says by every sign that all went well."""
    body = response.body
    same((response.status_code, body.success, body.code, body.http_status_code), (200, True, "200", 200), operation)
    if not body.request_id:
        raise AssertionError(f"{operation}: no request id")
    print(f"ok {operation}")
    return body.data


def refused(what, call, status, code):
    """Expects the SDK to raise with this status and code."""
    try:
        call()
    except Exception as error:
        found = (getattr(error, "status_code", None), getattr(error, "code", None))
        if found[1] is None:
            raise
        same(found, (status, code), what)
        if not error.message:
            raise AssertionError(f"{what}: no message")
        print(f"ok {what}: {status} {code}")
        return error
    raise AssertionError(f"{what}: was not refused")


def broken(what, call):
    """Expects the connection to break, which is not an answer of the cloud."""
    try:
        call()
    except Exception as error:
        if str(getattr(error, "code", "")).startswith(("Throttling", "Invalid", "Missing", "Signature")):
            raise
        print(f"ok {what}: {type(error).__name__}")
        return
    raise AssertionError(f"{what}: the connection did not break")


def until(what, found, expected):
    end = time.monotonic() + 20
    while found() != expected:
        if time.monotonic() > end:
            raise AssertionError(f"{what}: still {found()!r} instead of {expected!r}")
        time.sleep(0.05)


def client(endpoint, key_id, secret, token=None):
    return Client(Config(access_key_id=key_id, access_key_secret=secret, security_token=token, endpoint=endpoint,
                         protocol="http", region_id="cn-hangzhou"))


def instances(model, with_property=None):
    """A managed instance and an external one."""
    near = dict(instance_type="ALIYUN_ROCKETMQ", region_id="cn-hangzhou", instance_id="rmq-cn-near",
                instance_role="ACTIVE")
    if with_property:
        near["message_property"] = with_property
    far = dict(instance_type="EXTERNAL_ROCKETMQ", region_id="cn-shanghai", instance_role="PASSIVE",
               endpoint_url="10.0.0.1:9876", network_type="TCP_VPC", vpc_id="vpc-1", v_switch_id="vsw-1|vsw-2",
               security_group_id="sg-1", consumer_group_id="GID_DR", auth_type="ACL_AUTH", username="user",
               password="drive-password")
    return [model(**near), model(**far)]


def drive(base, key_id, secret):
    endpoint = base.removeprefix("http://")
    cloud = client(endpoint, key_id, secret)

    plan = str(good("CreateDisasterRecoveryPlan", cloud.create_disaster_recovery_plan(
        models.CreateDisasterRecoveryPlanRequest(
            plan_name="orders ü 数据", plan_desc="a+b & c=d/e*f~g", plan_type="ACTIVE_PASSIVE",
            instances=instances(models.CreateDisasterRecoveryPlanRequestInstances),
            auto_sync_checkpoint=False, sync_checkpoint_enabled=True))))
    found = good("GetDisasterRecoveryPlan", cloud.get_disaster_recovery_plan(plan))
    same((found.plan_name, found.plan_desc, found.plan_type, found.plan_status),
         ("orders ü 数据", "a+b & c=d/e*f~g", "ACTIVE_PASSIVE", "CREATED"), "the plan")
    same((found.auto_sync_checkpoint, found.sync_checkpoint_enabled, str(found.plan_id)), (False, True, plan), "flags")
    near, far = found.instances
    same((near.instance_id, near.instance_role, far.v_switch_id, far.password),
         ("rmq-cn-near", "ACTIVE", "vsw-1|vsw-2", "******"), "the instances")
    if not near.consumer_group_id or not far.instance_id:
        raise AssertionError("nothing was generated")
    time.strptime(found.create_time, "%Y-%m-%d %H:%M:%S")

    prop = models.UpdateDisasterRecoveryPlanRequestInstancesMessageProperty(property_key="site", property_value="hz")
    same(good("UpdateDisasterRecoveryPlan", cloud.update_disaster_recovery_plan(
        plan, models.UpdateDisasterRecoveryPlanRequest(
            plan_desc="changed", instances=instances(models.UpdateDisasterRecoveryPlanRequestInstances, prop)))),
        True, "the update")
    found = cloud.get_disaster_recovery_plan(plan).body.data
    same((found.plan_desc, found.plan_name), ("changed", "orders ü 数据"), "the updated plan")
    same((found.instances[0].message_property.property_key, found.instances[0].message_property.property_value),
         ("site", "hz"), "the property")

    for text, expected in [("orders ü", 1), ("数据", 1), ("chan", 1), ("a+b", 0), ("a b*c", 0)]:
        page = good("ListDisasterRecoveryPlans", cloud.list_disaster_recovery_plans(
            models.ListDisasterRecoveryPlansRequest(filter=text, page_number=1, page_size=10)))
        same((page.total_count, len(page.list), page.page_number, page.page_size), (expected, expected, 1, 10), text)
    page = cloud.list_disaster_recovery_plans(models.ListDisasterRecoveryPlansRequest(instance_id="rmq-cn-near"))
    same(str(page.body.data.list[0].plan_id), plan, "the plan of an instance")

    def topics(model, far_topic):
        return [model(instance_id="rmq-cn-near", topic_name="orders", delivery_order_type="Orderly",
                      instance_type="ALIYUN_ROCKETMQ", region_id="cn-hangzhou"),
                model(instance_id=far.instance_id, topic_name=far_topic, delivery_order_type="Orderly")]

    item = str(good("AddDisasterRecoveryItem", cloud.add_disaster_recovery_item(
        plan, models.AddDisasterRecoveryItemRequest(
            topics=topics(models.AddDisasterRecoveryItemRequestTopics, "orders")))))

    def item_status():
        return cloud.get_disaster_recovery_item(plan, item).body.data.item_status

    until("the new item", item_status, "RUNNING")
    same(cloud.get_disaster_recovery_plan(plan).body.data.plan_status, "RUNNING", "the plan of a running item")
    same(good("UpdateDisasterRecoveryItem", cloud.update_disaster_recovery_item(
        plan, item, models.UpdateDisasterRecoveryItemRequest(
            topics=topics(models.UpdateDisasterRecoveryItemRequestTopics, "orders-copy")))), True, "the update")
    until("the updated item", item_status, "RUNNING")
    found = good("GetDisasterRecoveryItem", cloud.get_disaster_recovery_item(plan, item))
    same((str(found.plan_id), str(found.item_id)), (plan, item), "the item's ids")
    same([(topic.topic_name, topic.delivery_order_type, topic.instance_type) for topic in found.topics],
         [("orders", "Orderly", "ALIYUN_ROCKETMQ"), ("orders-copy", "Orderly", "EXTERNAL_ROCKETMQ")], "the topics")
    page = good("ListDisasterRecoveryItems", cloud.list_disaster_recovery_items(
        plan, models.ListDisasterRecoveryItemsRequest(topic_name="orders", filter="copy", page_size=10)))
    same([str(found.item_id) for found in page.list], [item], "the items")

    wanted = models.ListDisasterRecoveryCheckpointsRequest(
        instance_id="rmq-cn-near", filter="GID_ORDERS", page_number=1, page_size=1)
    page = good("ListDisasterRecoveryCheckpoints", cloud.list_disaster_recovery_checkpoints(plan, item, wanted))
    same((page.total_count, len(page.list)), (1, 1), "the checkpoints")
    never = page.list[0]
    same((never.last_sync_time, never.target_progress.progress_data), (None, None), "one that was never synchronised")
    same((never.source_progress.topic_name, never.target_progress.topic_name, never.source_progress.consumer_group_id),
         ("orders", "orders-copy", "GID_ORDERS"), "its ends")
    same(good("SyncDisasterRecoveryCheckpoint", cloud.sync_disaster_recovery_checkpoint(
        plan, item, str(never.checkpoint_id))), True, "the synchronisation")
    synced = cloud.list_disaster_recovery_checkpoints(plan, item, wanted).body.data.list[0]
    same(synced.last_sync_time, synced.target_progress.progress_data.consume_timestamp, "one that was synchronised")
    lag = synced.source_progress.progress_data.consume_timestamp - synced.last_sync_time
    same(0 <= lag < 20_000, True, f"a lag of {lag} ms")

    group = near.consumer_group_id
    everything = models.GetConsumerGroupLagRequest()
    found = good("GetConsumerGroupLag", cloud.get_consumer_group_lag("rmq-cn-near", group, everything))
    same((found.instance_id, found.consumer_group_id, found.region_id, found.topic_name),
         ("rmq-cn-near", group, "cn-hangzhou", None), "the lag's group")
    same((list(found.topic_lag_map), found.total_lag.ready_count, found.total_lag.inflight_count,
          found.total_lag.delivery_duration), (["orders"], 0, 0, 0), "no lag")
    admin(base, "POST", "/replication", {"type": "CatchingUp", "behindMs": 60_000, "speedPercent": 100})
    found = good("GetConsumerGroupLag of a topic", cloud.get_consumer_group_lag(
        "rmq-cn-near", group, models.GetConsumerGroupLagRequest(topic_name="orders")))
    same(found.topic_name, "orders", "the lag's topic")
    for lag in [found.total_lag, found.topic_lag_map["orders"]]:
        same((lag.ready_count, lag.inflight_count, lag.delivery_duration), (590, 10, 59), "a lag of a minute")
        same(abs(time.time() * 1000 - 60_000 - lag.last_consume_timestamp) < 20_000, True, "the last message")
    admin(base, "POST", "/replication", {"type": "Busy"})
    refused("a lag of no instance", lambda: cloud.get_consumer_group_lag("rmq-none", group, everything), 404,
            "Instance.NotFound")
    refused("a lag of a self-managed instance", lambda: cloud.get_consumer_group_lag(
        far.instance_id, "GID_DR", everything), 404, "Instance.NotFound")
    refused("a lag of no group", lambda: cloud.get_consumer_group_lag("rmq-cn-near", "GID ü", everything), 404,
            "ConsumerGroup.NotFound")
    refused("a lag of no topic", lambda: cloud.get_consumer_group_lag(
        "rmq-cn-near", group, models.GetConsumerGroupLagRequest(topic_name="none")), 404, "Topic.NotFound")

    # What is refused.
    wrong = client(endpoint, key_id, secret + "x")
    listing = models.ListDisasterRecoveryPlansRequest()
    refused("a wrong secret", lambda: wrong.list_disaster_recovery_plans(listing), 400, "SignatureDoesNotMatch")
    nobody = client(endpoint, "nobody", secret)
    refused("an unknown key", lambda: nobody.list_disaster_recovery_plans(listing), 404, "InvalidAccessKeyId.NotFound")
    token = client(endpoint, key_id, secret, "token")
    refused("a token without need", lambda: token.list_disaster_recovery_plans(listing), 400,
            "InvalidSecurityToken.Malformed")
    refused("an unknown plan", lambda: cloud.get_disaster_recovery_plan("7"), 404, "DisasterRecoveryPlan.NotFound")
    refused("a plan that is no number", lambda: cloud.get_disaster_recovery_plan("a b/ü"), 404,
            "DisasterRecoveryPlan.NotFound")
    refused("an unknown item", lambda: cloud.get_disaster_recovery_item(plan, "7"), 404,
            "DisasterRecoveryItem.NotFound")
    refused("a create without a name", lambda: cloud.create_disaster_recovery_plan(
        models.CreateDisasterRecoveryPlanRequest(plan_desc="x")), 400, "MissingplanName")
    refused("checkpoints of no instance", lambda: cloud.list_disaster_recovery_checkpoints(
        plan, item, models.ListDisasterRecoveryCheckpointsRequest()), 400, "MissinginstanceId")
    refused("a small page", lambda: cloud.list_disaster_recovery_plans(
        models.ListDisasterRecoveryPlansRequest(page_size=9)), 400, "InvalidParameter")
    refused("a start of what runs", lambda: cloud.start_disaster_recovery_item(plan, item), 400,
            "DisasterRecoveryItemStatus.Error")
    refused("a delete of a plan that runs", lambda: cloud.delete_disaster_recovery_plan(plan), 400,
            "DisasterRecoveryPlanStatus.Error")
    admin(base, "POST", "/denied", {"actions": ["StopDisasterRecoveryItem"]})
    error = refused("what is not allowed", lambda: cloud.stop_disaster_recovery_item(plan, item), 403, "NoPermission")
    same(bool(error.access_denied_detail), True, "the detail of a denial")
    admin(base, "POST", "/denied", {"actions": []})
    admin(base, "POST", "/faults", {"times": 1, "kind": {"type": "Throttle", "retry_after_ms": 1500}})
    error = refused("throttling", lambda: cloud.list_disaster_recovery_plans(listing), 400, "Throttling.User")
    same((type(error).__name__, error.retry_after), ("ThrottlingException", 1500), "throttling")

    def create():
        return cloud.create_disaster_recovery_plan(models.CreateDisasterRecoveryPlanRequest(
            plan_name="again", plan_type="ACTIVE_PASSIVE",
            instances=instances(models.CreateDisasterRecoveryPlanRequestInstances)))

    for kind, made in [("Lost", 0), ("ReplyLost", 1)]:
        admin(base, "POST", "/faults", {"times": 1, "kind": {"type": kind}})
        broken(kind, create)
        again = [found["planId"] for found in admin(base, "GET", "/plans") if found["planName"] == "again"]
        same(len(again), made, f"the plans after {kind}")
        for found in again:
            admin(base, "DELETE", f"/plans/{found}")

    # The end of it all.
    same(good("StopDisasterRecoveryItem", cloud.stop_disaster_recovery_item(plan, item)), True, "the stop")
    until("the stopped item", item_status, "MANUAL_STOPPED")
    same(good("StartDisasterRecoveryItem", cloud.start_disaster_recovery_item(plan, item)), True, "the start")
    until("the started item", item_status, "RUNNING")
    cloud.stop_disaster_recovery_item(plan, item)
    until("the stopped item", item_status, "MANUAL_STOPPED")
    same(good("DeleteDisasterRecoveryItem", cloud.delete_disaster_recovery_item(plan, item)), True, "the delete")
    refused("a deleted item", lambda: cloud.get_disaster_recovery_item(plan, item), 404,
            "DisasterRecoveryItem.NotFound")
    same(good("DeleteDisasterRecoveryPlan", cloud.delete_disaster_recovery_plan(plan)), True, "the delete")
    refused("a deleted plan", lambda: cloud.get_disaster_recovery_plan(plan), 404, "DisasterRecoveryPlan.NotFound")

    succeeded = {record["action"] for record in admin(base, "GET", "/requests") if record["code"] == "200"}
    same(sorted(succeeded), sorted(OPERATIONS), "the operations that were driven")


def admin(base, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/_simulator{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


if __name__ == "__main__":
    drive(*sys.argv[1:4])
    print("all as the SDK expects")
