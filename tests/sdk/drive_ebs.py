"""Drives the simulator's EBS side with Alibaba Cloud's own SDK, every operation, and ends with 1 at the first thing that
is not as the SDK expects.

Usage: drive_ebs.py http://127.0.0.1:PORT KEY_ID KEY_SECRET
"""

import sys

from alibabacloud_ebs20210730 import models
from alibabacloud_ebs20210730.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from drive import admin, refused, same, until

OPERATIONS = [
    "CreateDiskReplicaGroup", "DescribeDiskReplicaGroups", "ModifyDiskReplicaGroup", "DeleteDiskReplicaGroup",
    "StartDiskReplicaGroup", "StopDiskReplicaGroup", "FailoverDiskReplicaGroup", "ReprotectDiskReplicaGroup",
    "AddDiskReplicaPair", "RemoveDiskReplicaPair", "CreateDiskReplicaPair", "DescribeDiskReplicaPairs",
    "DeleteDiskReplicaPair", "StartDiskReplicaPair", "StopDiskReplicaPair", "StartReplicaGroupDrill",
    "DescribeReplicaGroupDrills", "ClearReplicaGroupDrill",
]
HERE, THERE = "cn-hangzhou", "cn-shanghai"


def method(operation):
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in operation)[1:]


def drive(base, key_id, secret):
    cloud = Client(Config(access_key_id=key_id, access_key_secret=secret, endpoint=base.removeprefix("http://"),
                          protocol="http", region_id=HERE))

    def call(operation, region=HERE, **fields):
        request = getattr(models, operation + "Request")(region_id=region, **fields)
        response = getattr(cloud, method(operation))(request)
        same(response.status_code, 200, operation)
        if not response.body.request_id:
            raise AssertionError(f"{operation}: no request id")
        print(f"ok {operation} in {region}")
        return response.body

    def shown(region=HERE):
        return call("DescribeDiskReplicaGroups", region, group_ids=group).replica_groups[0]

    def reaches(status):
        until(f"the group that becomes {status}", lambda: shown().status, status)

    creation = dict(source_zone_id="cn-hangzhou-h", destination_region_id=THERE, destination_zone_id="cn-shanghai-b",
                    group_name="orders-db", description="Orders [mark]", rpo=900, enable_rtc=False,
                    tag=[models.CreateDiskReplicaGroupRequestTag(key="team", value="orders")], client_token="create")
    group = call("CreateDiskReplicaGroup", **creation).replica_group_id
    same(call("CreateDiskReplicaGroup", **creation).replica_group_id, group, "the repeated token")
    refused("the token with something else",
            lambda: call("CreateDiskReplicaGroup", **{**creation, "group_name": "other"}),
            400, "IdempotentParameterMismatch")
    found = call("DescribeDiskReplicaGroups", THERE, max_results=1)
    same([(one.replica_group_id, one.site) for one in found.replica_groups], [(group, "backup")], "the other side")
    same(call("DescribeDiskReplicaGroups", "cn-beijing", page_number=1, page_size=10).total_count, 0, "a third region")
    reaches("created")
    found = shown()
    same((found.group_name, found.description, found.rpo, found.enable_rtc, found.site, found.primary_zone,
          found.source_region_id, found.destination_zone_id, [(tag.tag_key, tag.tag_value) for tag in found.tags]),
         ("orders-db", "Orders [mark]", 900, False, "production", "cn-hangzhou-h", HERE, "cn-shanghai-b",
          [("team", "orders")]), "the group")
    call("ModifyDiskReplicaGroup", replica_group_id=group, description="Orders, changed", enable_rtc=True)
    same((shown().description, shown().enable_rtc), ("Orders, changed", True), "the changed group")
    refused("a start without pairs", lambda: call("StartDiskReplicaGroup", replica_group_id=group), 403,
            "OperationDenied.NoPairInGroup")

    pair = call("CreateDiskReplicaPair", disk_id="d-1", source_zone_id="cn-hangzhou-h", destination_disk_id="d-2",
                destination_region_id=THERE, destination_zone_id="cn-shanghai-b", pair_name="data",
                charge_type="POSTPAY", client_token="pair 1/a~b*c+d").replica_pair_id
    alone = lambda: call("DescribeDiskReplicaPairs", pair_ids=pair, replica_group_id="-").replica_pairs[0].status
    until("the pair", alone, "created")
    call("StartDiskReplicaPair", replica_pair_id=pair, one_shot=False, client_token="start pair")
    until("the started pair", alone, "normal")
    call("StopDiskReplicaPair", THERE, replica_pair_id=pair, client_token="stop pair")
    until("the stopped pair", alone, "stopped")
    call("AddDiskReplicaPair", replica_group_id=group, replica_pair_id=pair, client_token="add")
    same((shown().pair_ids, shown().pair_number), ([pair], 1), "the pairs of the group")
    refused("a start of a grouped pair", lambda: call("StartDiskReplicaPair", replica_pair_id=pair), 403,
            "OperationDenied")
    refused("a delete with a pair", lambda: call("DeleteDiskReplicaGroup", replica_group_id=group), 403,
            "OperationDenied.GroupHasPair")

    call("StartDiskReplicaGroup", replica_group_id=group, one_shot=True)
    reaches("stopped")
    call("StartDiskReplicaGroup", replica_group_id=group, one_shot=False, client_token="start")
    reaches("normal")
    one = call("DescribeDiskReplicaPairs", replica_group_id=group).replica_pairs[0]
    same((one.status, one.source_disk_id, one.destination_disk_id, one.replica_group_name, one.source_region),
         ("normal", "d-1", "d-2", "orders-db", HERE), "the pair")
    if not shown().last_recover_point > 1_700_000_000:
        raise AssertionError(f"the recovery point: {shown().last_recover_point!r}")

    drill = call("StartReplicaGroupDrill", THERE, group_id=group, client_token="drill").drill_id
    drills = lambda: call("DescribeReplicaGroupDrills", THERE, group_id=group, drill_id=drill).drills
    until("the drill", lambda: drills()[0].status, "executed")
    same((drills()[0].pairs_info[0].pair_id, drills()[0].pairs_info[0].drill_disk_status), (pair, "created"),
         "the drill's disk")
    call("ClearReplicaGroupDrill", THERE, group_id=group, drill_id=drill)
    until("the cleared drill", lambda: len(drills()), 0)

    call("StopDiskReplicaGroup", replica_group_id=group)
    reaches("stopped")
    refused("a failover on the wrong side", lambda: call("FailoverDiskReplicaGroup", replica_group_id=group), 403,
            "OperationDenied.OperateNotAllowedForPrimary")
    call("FailoverDiskReplicaGroup", THERE, replica_group_id=group, client_token="failover")
    reaches("failovered")
    call("ReprotectDiskReplicaGroup", THERE, replica_group_id=group, reverse_replicate=False)
    reaches("stopped")
    call("FailoverDiskReplicaGroup", THERE, replica_group_id=group, client_token="failover again")
    reaches("failovered")
    admin(base, "PATCH", f"/disk-groups/{group}", {"attached": True})
    reprotect = lambda: call("ReprotectDiskReplicaGroup", THERE, replica_group_id=group, reverse_replicate=True)
    refused("a reprotect of attached disks", reprotect, 403, "OperationDenied")
    admin(base, "PATCH", f"/disk-groups/{group}", {"attached": False})
    reprotect()
    reaches("stopped")
    found = shown()
    same((found.source_region_id, found.destination_region_id, found.primary_region, found.standby_region, found.site),
         (THERE, HERE, HERE, THERE, "backup"), "the turned group")

    refused("an unknown group", lambda: call("StopDiskReplicaGroup", replica_group_id="pg-none"), 404,
            "NoSuchResource")
    refused("another RPO", lambda: call("ModifyDiskReplicaGroup", THERE, replica_group_id=group, rpo=60), 400,
            "InvalidParameter")
    admin(base, "POST", "/denied", {"actions": ["StopDiskReplicaGroup"]})
    error = refused("what is not allowed", lambda: call("StopDiskReplicaGroup", THERE, replica_group_id=group), 403,
                    "Forbidden.Action")
    same(bool(error.access_denied_detail), True, "the detail of a denial")
    admin(base, "POST", "/denied", {"actions": []})

    call("RemoveDiskReplicaPair", THERE, replica_group_id=group, replica_pair_id=pair)
    call("DeleteDiskReplicaPair", THERE, replica_pair_id=pair)
    call("DeleteDiskReplicaGroup", THERE, replica_group_id=group)
    until("the deleted pair", lambda: len(call("DescribeDiskReplicaPairs", pair_ids=pair).replica_pairs), 0)
    until("the deleted group", lambda: len(call("DescribeDiskReplicaGroups", group_ids=group).replica_groups), 0)

    succeeded = {record["action"] for record in admin(base, "GET", "/requests") if record["code"] == "200"}
    same(sorted(succeeded), sorted(OPERATIONS), "the operations that were driven")


if __name__ == "__main__":
    drive(*sys.argv[1:4])
    print("all as the SDK expects")
