//! The operations of EBS 2021-07-30 on replication groups of disks (RPC): from parameters to the model and back.

use std::collections::BTreeMap;

use http::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::http::Incoming;
use super::model::ebs::{DiskGroupInput, DiskPairInput, Disks, EbsPage, EbsPaging, GroupFilter, PairFilter};
use super::model::{Failure, ListFault};

/// The first label of the product's host names.
pub(super) const PRODUCT: &str = "ebs";
/// The API version, the required value of `x-acs-version`.
pub(super) const VERSION: &str = "2021-07-30";

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    CreateGroup,
    DescribeGroups,
    ModifyGroup,
    DeleteGroup,
    StartGroup,
    StopGroup,
    FailoverGroup,
    ReprotectGroup,
    AddPair,
    RemovePair,
    CreatePair,
    DescribePairs,
    DeletePair,
    StartPair,
    StopPair,
    StartDrill,
    DescribeDrills,
    ClearDrill,
}

use Operation as O;

/// Operations by action name.
const ACTIONS: [(&str, Operation); 18] = [
    ("CreateDiskReplicaGroup", O::CreateGroup),
    ("DescribeDiskReplicaGroups", O::DescribeGroups),
    ("ModifyDiskReplicaGroup", O::ModifyGroup),
    ("DeleteDiskReplicaGroup", O::DeleteGroup),
    ("StartDiskReplicaGroup", O::StartGroup),
    ("StopDiskReplicaGroup", O::StopGroup),
    ("FailoverDiskReplicaGroup", O::FailoverGroup),
    ("ReprotectDiskReplicaGroup", O::ReprotectGroup),
    ("AddDiskReplicaPair", O::AddPair),
    ("RemoveDiskReplicaPair", O::RemovePair),
    ("CreateDiskReplicaPair", O::CreatePair),
    ("DescribeDiskReplicaPairs", O::DescribePairs),
    ("DeleteDiskReplicaPair", O::DeletePair),
    ("StartDiskReplicaPair", O::StartPair),
    ("StopDiskReplicaPair", O::StopPair),
    ("StartReplicaGroupDrill", O::StartDrill),
    ("DescribeReplicaGroupDrills", O::DescribeDrills),
    ("ClearReplicaGroupDrill", O::ClearDrill),
];

/// Parameters of a request, from query and form.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn of(incoming: &Incoming) -> Parameters {
        Parameters(incoming.rpc_parameters().into_iter().collect())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|text| !text.is_empty()).cloned()
    }

    fn required(&self, name: &str) -> Result<String, Failure> {
        self.text(name).ok_or_else(|| Failure::missing(name))
    }

    fn group_id(&self) -> Result<String, Failure> {
        self.required("ReplicaGroupId")
    }

    fn pair_id(&self) -> Result<String, Failure> {
        self.required("ReplicaPairId")
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let parsed = self.text(name).map(|text| text.parse());
        parsed.transpose().map_err(|_| Failure::invalid_ebs(name, "it must be an integer"))
    }

    /// The SDK for Python sends `True`, others send `true`.
    fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        let parsed = self.text(name).map(|text| text.to_ascii_lowercase().parse());
        parsed.transpose().map_err(|_| Failure::invalid_ebs(name, "it must be true or false"))
    }

    /// A comma-separated list of at most 100 ids.
    fn ids(&self, name: &str) -> Result<Option<Vec<String>>, Failure> {
        let ids = self.text(name).map(|text| text.split(',').map(|id| id.trim().to_owned()).collect::<Vec<_>>());
        match ids {
            Some(ids) if ids.len() > 100 => Err(Failure::invalid_ebs(name, "100 ids at most")),
            ids => Ok(ids),
        }
    }

    fn site(&self) -> Result<Option<String>, Failure> {
        match self.text("Site") {
            Some(site) if !["production", "backup"].contains(&site.as_str()) => {
                Err(Failure::invalid_ebs("Site", "it must be production or backup"))
            }
            site => Ok(site),
        }
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let keys = (1..=20).map_while(|n| Some((n, self.text(&format!("Tag.{n}.Key"))?)));
        keys.map(|(n, key)| (key, self.text(&format!("Tag.{n}.Value")).unwrap_or_default())).collect()
    }

    fn paging(&self) -> Result<EbsPaging, Failure> {
        let token = self.text("NextToken");
        let (results, number, size) =
            (self.number("MaxResults")?, self.number("PageNumber")?, self.number("PageSize")?);
        EbsPaging::new(results, token.as_deref(), number, size)
    }

    fn group_input(&self) -> Result<DiskGroupInput, Failure> {
        Ok(DiskGroupInput {
            name: self.text("GroupName"),
            description: self.text("Description"),
            rpo: self.number("RPO")?,
            enable_rtc: self.flag("EnableRtc")?,
            source_zone: self.text("SourceZoneId"),
            destination_region: self.text("DestinationRegionId"),
            destination_zone: self.text("DestinationZoneId"),
            resource_group_id: self.text("ResourceGroupId"),
            tags: self.tags(),
        })
    }

    fn pair_input(&self) -> Result<DiskPairInput, Failure> {
        Ok(DiskPairInput {
            name: self.text("PairName"),
            description: self.text("Description"),
            disk: self.text("DiskId"),
            source_zone: self.text("SourceZoneId"),
            destination_disk: self.text("DestinationDiskId"),
            destination_region: self.text("DestinationRegionId"),
            destination_zone: self.text("DestinationZoneId"),
            charge_type: self.text("ChargeType"),
            rpo: self.number("RPO")?,
            enable_rtc: self.flag("EnableRtc")?,
            resource_group_id: self.text("ResourceGroupId"),
            tags: self.tags(),
        })
    }
}

impl Operation {
    /// The operation that `x-acs-action` names, by POST or GET of `/`.
    pub(super) fn route(incoming: &Incoming) -> Option<Operation> {
        let rpc = incoming.path == "/" && [Method::POST, Method::GET].contains(&incoming.method);
        let action = incoming.header("x-acs-action").filter(|_| rpc)?;
        ACTIONS.iter().find(|(name, _)| *name == action).map(|(_, operation)| *operation)
    }

    /// The action's name.
    pub(super) fn action(self) -> &'static str {
        ACTIONS.iter().find(|(_, operation)| *operation == self).map_or("", |(name, _)| name)
    }

    /// Whether it can change the cloud.
    pub(super) fn is_changing(self) -> bool {
        !matches!(self, O::DescribeGroups | O::DescribePairs | O::DescribeDrills)
    }

    /// Allowed calls a second where most operations have `most`.
    pub(super) fn limit(self, most: u32) -> u32 {
        if self == O::ClearDrill { most.div_ceil(4) } else { most }
    }

    /// Executes the operation and returns the fields of the reply. A changing operation is executed once for each
    /// ClientToken, except ClearReplicaGroupDrill, which has no token.
    pub(super) fn perform(
        self,
        incoming: &Incoming,
        disks: &mut Disks,
        (region, lists): (&str, &ListFault),
        now: i64,
    ) -> Result<Value, Failure> {
        let parameters = Parameters::of(incoming);
        parameters.required("RegionId")?;
        let token = parameters.text("ClientToken").filter(|_| self.is_changing() && self != O::ClearDrill);
        let request = format!("{:?}", parameters.0);
        let mut reply = disks.once((region, self.action(), token.as_deref()), request, |disks| {
            self.call(&parameters, disks, (region, lists), now)
        })?;
        match self {
            O::DescribeGroups => lists.replace_status(&mut reply["ReplicaGroups"], ("ReplicaGroupId", "Status")),
            O::DescribePairs => lists.replace_status(&mut reply["ReplicaPairs"], ("ReplicaPairId", "Status")),
            _ => {}
        }
        Ok(reply)
    }

    fn call(
        self,
        parameters: &Parameters,
        disks: &mut Disks,
        (region, lists): (&str, &ListFault),
        now: i64,
    ) -> Result<Value, Failure> {
        match self {
            O::CreateGroup => {
                Ok(json!({"ReplicaGroupId": disks.create_group(region, parameters.group_input()?, now)?}))
            }
            O::DescribeGroups => {
                let filter = GroupFilter {
                    ids: parameters.ids("GroupIds")?,
                    name: parameters.text("Name"),
                    site: parameters.site()?,
                    resource_group_id: parameters.text("ResourceGroupId"),
                    tags: parameters.tags(),
                };
                page(
                    "ReplicaGroups",
                    &disks.describe_groups(region, &filter, &parameters.paging()?.with_fault(lists), now),
                )
            }
            O::ModifyGroup => done(disks.modify_group(region, &parameters.group_id()?, parameters.group_input()?, now)),
            O::DeleteGroup => done(disks.delete_group(region, &parameters.group_id()?, now)),
            O::StartGroup => {
                let one_shot = parameters.flag("OneShot")?.unwrap_or(false);
                done(disks.start_group(region, &parameters.group_id()?, one_shot, now))
            }
            O::StopGroup => done(disks.stop_group(region, &parameters.group_id()?, now)),
            O::FailoverGroup => done(disks.failover_group(region, &parameters.group_id()?, now)),
            O::ReprotectGroup => {
                let reverse = parameters.flag("ReverseReplicate")?.unwrap_or(true);
                done(disks.reprotect_group(region, &parameters.group_id()?, reverse, now))
            }
            O::AddPair => done(disks.add_pair(region, (&parameters.group_id()?, &parameters.pair_id()?), now)),
            O::RemovePair => done(disks.remove_pair(region, (&parameters.group_id()?, &parameters.pair_id()?), now)),
            O::CreatePair => {
                let id = disks.create_pair(region, parameters.pair_input()?, now)?;
                Ok(json!({"ReplicaPairId": id, "OrderId": ""}))
            }
            O::DescribePairs => {
                let filter = PairFilter {
                    ids: parameters.ids("PairIds")?,
                    group: parameters.text("ReplicaGroupId"),
                    name: parameters.text("Name"),
                    site: parameters.site()?,
                };
                page(
                    "ReplicaPairs",
                    &disks.describe_pairs(region, &filter, &parameters.paging()?.with_fault(lists), now),
                )
            }
            O::DeletePair => done(disks.delete_pair(region, &parameters.pair_id()?, now)),
            O::StartPair => {
                let one_shot = parameters.flag("OneShot")?.unwrap_or(false);
                done(disks.start_pair(region, &parameters.pair_id()?, one_shot, now))
            }
            O::StopPair => done(disks.stop_pair(region, &parameters.pair_id()?, now)),
            O::StartDrill => Ok(json!({"DrillId": disks.start_drill(region, &parameters.required("GroupId")?, now)?})),
            O::DescribeDrills => {
                let drill = parameters.text("DrillId");
                let wanted = (parameters.required("GroupId")?, drill);
                let paging = parameters.paging()?.with_fault(lists);
                let wanted = (wanted.0.as_str(), wanted.1.as_deref());
                page("Drills", &disks.describe_drills(region, wanted, &paging, now)?)
            }
            O::ClearDrill => {
                let drill = parameters.required("DrillId")?;
                done(disks.clear_drill(region, (&parameters.required("GroupId")?, &drill), now))
            }
        }
    }
}

fn page<T: Serialize>(name: &str, page: &EbsPage<T>) -> Result<Value, Failure> {
    let list = serde_json::to_value(&page.list);
    let list = list.map_err(|error| Failure::gateway(500, "InternalError", error.to_string()))?;
    let mut fields = Map::from_iter([(name.to_owned(), list)]);
    if let Some(token) = &page.next_token {
        fields.insert("NextToken".to_owned(), json!(token));
    }
    if let Some((total, number, size)) = page.numbers {
        fields.insert("TotalCount".to_owned(), json!(total));
        fields.insert("PageNumber".to_owned(), json!(number));
        fields.insert("PageSize".to_owned(), json!(size));
    }
    Ok(Value::Object(fields))
}

fn done(result: Result<(), Failure>) -> Result<Value, Failure> {
    result.map(|()| json!({}))
}
