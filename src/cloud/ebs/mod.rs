//! Disk replication groups, pairs and drills of Elastic Block Storage 2021-07-30: one typed method an operation.
//!
//! Names and shapes are the API's (official SDK 5.0.1; OpenAPI metadata; help page of ReprotectDiskReplicaGroup). Every
//! operation goes to its documented site, and `RegionId` is always the region of the endpoint. Every change except
//! ClearReplicaGroupDrill takes a [`ClientToken`], so the client repeats it when the answer is lost.

mod query;
mod shapes;
mod token;

use http::Method;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::value::RawValue;

use self::query::Query;
pub use self::shapes::*;
pub use self::token::{ClientToken, NoClientToken};
use super::client::{Call, Client, Data, Style, Target};
use super::error::{Class, Error};
use super::list::{List, MAX_READS, Pages, incomplete};
use super::operation::ApiOperation;
use super::wire::{broken, maybe_number, parse, referenced};

/// The product's name in metrics and in the rate limit.
pub const PRODUCT: &str = "ebs";
/// The version of the API.
pub const VERSION: &str = "2021-07-30";

/// Calls of ClearReplicaGroupDrill a second, region and account: 90 % of the published limit (help page
/// "api-ebs-2021-07-30-quota").
pub const CLEAR_DRILL_REQUESTS_PER_SECOND: u32 = 9;

/// Maximum entries per page with a token (OpenAPI metadata).
const PAGE_SIZE: usize = 500;
/// Maximum entries per page with page numbers (OpenAPI metadata).
const NUMBERED_PAGE_SIZE: usize = 100;
/// Maximum IDs in one call (OpenAPI metadata).
const MAX_IDS: usize = 100;
/// Maximum pages of a list; more are a fault of the service.
const MAX_PAGES: u64 = 10_000;

/// One of the two sites of a group. They may be two zones of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteRole {
    /// The site of the primary disks, which replication reads from.
    Production,
    /// The site of the secondary disks, which replication writes to.
    Standby,
}

/// Selects pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs<'a> {
    /// All pairs of the region.
    All,
    /// The pairs with these IDs.
    Ids(&'a [&'a str]),
    /// The pairs of a group.
    InGroup(&'a str),
    /// The pairs without a group.
    Ungrouped,
}

/// The API of two sites, as one caller.
#[derive(Clone)]
pub struct Ebs {
    client: Client,
    production: Target,
    standby: Target,
}

/// A page of any list: the list has a name of its own.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page<'a> {
    next_token: Option<String>,
    #[serde(default, deserialize_with = "maybe_number")]
    total_count: Option<i64>,
    page_number: Option<IgnoredAny>,
    #[serde(borrow, alias = "ReplicaGroups", alias = "ReplicaPairs", alias = "Drills")]
    entries: Option<&'a RawValue>,
}

impl Ebs {
    /// The API at two targets, whose product and version are [`PRODUCT`] and [`VERSION`].
    pub fn new(client: Client, production: Target, standby: Target) -> Self {
        Self { client, production, standby }
    }

    /// The same API with the sites exchanged, for a group that replicates in reverse.
    ///
    /// It is not documented which region counts as production then. The codes `OperateNotAllowedForPrimary` and
    /// `…ForStandby` mean that it was the other one.
    pub fn reversed(self) -> Self {
        Self { client: self.client, production: self.standby, standby: self.production }
    }

    /// The region of a site.
    pub fn region(&self, site: SiteRole) -> &str {
        &self.target(site).region
    }

    fn target(&self, site: SiteRole) -> &Target {
        match site {
            SiteRole::Production => &self.production,
            SiteRole::Standby => &self.standby,
        }
    }

    fn query(&self, site: SiteRole) -> Query {
        Query::at(self.target(site))
    }

    async fn send(&self, site: SiteRole, operation: ApiOperation, query: Query, changing: bool) -> Result<Data, Error> {
        let repeatable = changing && query.has_token();
        let (method, path, style) = (Method::POST, "/".into(), Style::Rpc);
        let (query, body, secrets) = (query.0, None, vec![]);
        let call = Call { operation, method, path, query, body, style, changing, repeatable, secrets };
        self.client.send(self.target(site), &call).await
    }

    async fn change(&self, site: SiteRole, operation: ApiOperation, query: Query) -> Result<(), Error> {
        self.send(site, operation, query, true).await.map(drop)
    }

    /// Calls an operation that takes a group, a token and the parameters that `more` adds.
    async fn change_group(
        &self,
        site: SiteRole,
        operation: ApiOperation,
        group_id: &str,
        token: &ClientToken,
        more: impl FnOnce(Query) -> Query,
    ) -> Result<(), Error> {
        let query = self.query(site).with("ReplicaGroupId", group_id).token(token);
        self.change(site, operation, more(query)).await
    }

    /// `CreateDiskReplicaGroup` at the production site: the new group's ID.
    pub async fn create_group(&self, group: &NewGroup, token: &ClientToken) -> Result<String, Error> {
        let operation = ApiOperation::CreateDiskReplicaGroup;
        let query = self
            .query(SiteRole::Production)
            .with("SourceZoneId", &group.source_zone_id)
            .with("DestinationRegionId", self.region(SiteRole::Standby))
            .with("DestinationZoneId", &group.destination_zone_id)
            .maybe("GroupName", group.group_name.as_ref())
            .maybe("Description", group.description.as_ref())
            .maybe("RPO", group.rpo)
            .maybe("EnableRtc", group.enable_rtc)
            .maybe("ResourceGroupId", group.resource_group_id.as_ref())
            .tags(&group.tags)
            .token(token);
        new_id(
            operation,
            "ReplicaGroupId",
            &self.send(SiteRole::Production, operation, query, true).await.map_err(referenced)?,
        )
    }

    /// `DescribeDiskReplicaGroups`: the groups with these IDs, or all groups of the region if `group_ids` is empty.
    pub async fn groups(&self, site: SiteRole, group_ids: &[&str]) -> Result<List<GroupView>, Error> {
        let entry = |group: GroupView| (group.replica_group_id.clone(), group);
        self.by_ids(site, ApiOperation::DescribeDiskReplicaGroups, "GroupIds", group_ids, entry).await
    }

    /// `DescribeDiskReplicaGroups` of one group. A group that does not exist is [`Class::NotFound`].
    pub async fn group(&self, site: SiteRole, group_id: &str) -> Result<GroupView, Error> {
        let groups = self.groups(site, &[group_id]).await?;
        let is_it = |group: &GroupView| group.replica_group_id == group_id;
        one(ApiOperation::DescribeDiskReplicaGroups, groups, is_it, || format!("group {group_id}"))
    }

    /// `ModifyDiskReplicaGroup` at the production site; the group must be created or stopped.
    pub async fn modify_group(&self, group_id: &str, change: &GroupChange, token: &ClientToken) -> Result<(), Error> {
        let GroupChange { group_name, description, rpo, enable_rtc } = change;
        self.change_group(SiteRole::Production, ApiOperation::ModifyDiskReplicaGroup, group_id, token, |query| {
            query
                .maybe("GroupName", group_name.as_ref())
                .maybe("Description", description.as_ref())
                .maybe("RPO", *rpo)
                .maybe("EnableRtc", *enable_rtc)
        })
        .await
    }

    /// `DeleteDiskReplicaGroup` at the production site; the group must have no pairs.
    pub async fn delete_group(&self, group_id: &str, token: &ClientToken) -> Result<(), Error> {
        self.change_group(SiteRole::Production, ApiOperation::DeleteDiskReplicaGroup, group_id, token, |query| query)
            .await
    }

    /// `StartDiskReplicaGroup` at the production site (the site is not documented); with `one_shot`, one
    /// synchronization.
    pub async fn start_group(&self, group_id: &str, one_shot: bool, token: &ClientToken) -> Result<(), Error> {
        let more = |query: Query| query.with("OneShot", one_shot);
        self.change_group(SiteRole::Production, ApiOperation::StartDiskReplicaGroup, group_id, token, more).await
    }

    /// `StopDiskReplicaGroup` at the production site.
    pub async fn stop_group(&self, group_id: &str, token: &ClientToken) -> Result<(), Error> {
        self.change_group(SiteRole::Production, ApiOperation::StopDiskReplicaGroup, group_id, token, |query| query)
            .await
    }

    /// `FailoverDiskReplicaGroup` at the standby site: opens the secondary disks at the last recovery point.
    pub async fn failover_group(&self, group_id: &str, token: &ClientToken) -> Result<(), Error> {
        self.change_group(SiteRole::Standby, ApiOperation::FailoverDiskReplicaGroup, group_id, token, |query| query)
            .await
    }

    /// `ReprotectDiskReplicaGroup` at the standby site (the site is documented for pairs only): reverses replication,
    /// or, with `reverse_replicate` false, cancels the failover.
    pub async fn reprotect_group(
        &self,
        group_id: &str,
        reverse_replicate: bool,
        token: &ClientToken,
    ) -> Result<(), Error> {
        let more = |query: Query| query.with("ReverseReplicate", reverse_replicate);
        self.change_group(SiteRole::Standby, ApiOperation::ReprotectDiskReplicaGroup, group_id, token, more).await
    }

    /// `AddDiskReplicaPair` at the production site; group and pair must be created or stopped.
    pub async fn add_pair(&self, group_id: &str, pair_id: &str, token: &ClientToken) -> Result<(), Error> {
        let more = |query: Query| query.with("ReplicaPairId", pair_id);
        self.change_group(SiteRole::Production, ApiOperation::AddDiskReplicaPair, group_id, token, more).await
    }

    /// `RemoveDiskReplicaPair` at the production site; the group must be created, stopped or invalid.
    pub async fn remove_pair(&self, group_id: &str, pair_id: &str, token: &ClientToken) -> Result<(), Error> {
        let more = |query: Query| query.with("ReplicaPairId", pair_id);
        self.change_group(SiteRole::Production, ApiOperation::RemoveDiskReplicaPair, group_id, token, more).await
    }

    /// `CreateDiskReplicaPair` at the production site: the new pair's ID.
    pub async fn create_pair(&self, pair: &NewPair, token: &ClientToken) -> Result<String, Error> {
        let operation = ApiOperation::CreateDiskReplicaPair;
        let query = self
            .query(SiteRole::Production)
            .with("DiskId", &pair.disk_id)
            .with("SourceZoneId", &pair.source_zone_id)
            .with("DestinationDiskId", &pair.destination_disk_id)
            .with("DestinationRegionId", self.region(SiteRole::Standby))
            .with("DestinationZoneId", &pair.destination_zone_id)
            .maybe("PairName", pair.pair_name.as_ref())
            .maybe("Description", pair.description.as_ref())
            .maybe("RPO", pair.rpo)
            .maybe("EnableRtc", pair.enable_rtc)
            .maybe("ResourceGroupId", pair.resource_group_id.as_ref())
            .tags(&pair.tags)
            .token(token);
        new_id(
            operation,
            "ReplicaPairId",
            &self.send(SiteRole::Production, operation, query, true).await.map_err(referenced)?,
        )
    }

    /// `DescribeDiskReplicaPairs`.
    pub async fn pairs(&self, site: SiteRole, pairs: Pairs<'_>) -> Result<List<PairView>, Error> {
        let operation = ApiOperation::DescribeDiskReplicaPairs;
        let entry = |pair: PairView| (pair.replica_pair_id.clone(), pair);
        let filter = match pairs {
            Pairs::Ids([]) => return Ok(List::Complete(vec![])),
            Pairs::Ids(ids) => return self.by_ids(site, operation, "PairIds", ids, entry).await,
            Pairs::All => None,
            Pairs::InGroup(group_id) => Some(("ReplicaGroupId", group_id)),
            Pairs::Ungrouped => Some(("ReplicaGroupId", "-")),
        };
        self.list(site, operation, filter, entry).await
    }

    /// `DescribeDiskReplicaPairs` of one pair. A pair that does not exist is [`Class::NotFound`].
    pub async fn pair(&self, site: SiteRole, pair_id: &str) -> Result<PairView, Error> {
        let pairs = self.pairs(site, Pairs::Ids(&[pair_id])).await?;
        let is_it = |pair: &PairView| pair.replica_pair_id == pair_id;
        one(ApiOperation::DescribeDiskReplicaPairs, pairs, is_it, || format!("pair {pair_id}"))
    }

    /// `DeleteDiskReplicaPair` at the production site.
    pub async fn delete_pair(&self, pair_id: &str, token: &ClientToken) -> Result<(), Error> {
        let query = self.query(SiteRole::Production).with("ReplicaPairId", pair_id).token(token);
        self.change(SiteRole::Production, ApiOperation::DeleteDiskReplicaPair, query).await
    }

    /// `StartReplicaGroupDrill` at the standby site: the new drill's ID. The drill's disks are billed until the drill
    /// is cleared.
    pub async fn start_drill(&self, group_id: &str, token: &ClientToken) -> Result<String, Error> {
        let operation = ApiOperation::StartReplicaGroupDrill;
        let query = self.query(SiteRole::Standby).with("GroupId", group_id).token(token);
        new_id(operation, "DrillId", &self.send(SiteRole::Standby, operation, query, true).await?)
    }

    /// `DescribeReplicaGroupDrills` at the standby site, where drills run: all drills of a group.
    pub async fn drills(&self, group_id: &str) -> Result<List<DrillView>, Error> {
        let entry = |drill: DrillView| (drill.drill_id.clone(), drill);
        self.list(SiteRole::Standby, ApiOperation::DescribeReplicaGroupDrills, Some(("GroupId", group_id)), entry).await
    }

    /// `ClearReplicaGroupDrill` at the standby site. It takes no token, so a lost answer is [`Class::Ambiguous`]. A
    /// repeat after an observation of the drill does no harm.
    pub async fn clear_drill(&self, group_id: &str, drill_id: &str) -> Result<(), Error> {
        let query = self.query(SiteRole::Standby).with("GroupId", group_id).with("DrillId", drill_id);
        self.change(SiteRole::Standby, ApiOperation::ClearReplicaGroupDrill, query).await
    }

    /// Requests as many IDs at once as the service takes. An empty `ids` means all entries of the region.
    async fn by_ids<T: DeserializeOwned>(
        &self,
        site: SiteRole,
        operation: ApiOperation,
        key: &'static str,
        ids: &[&str],
        entry: fn(T) -> (String, T),
    ) -> Result<List<T>, Error> {
        if ids.is_empty() {
            return self.list(site, operation, None, entry).await;
        }
        let mut all = List::Complete(vec![]);
        for ids in ids.chunks(MAX_IDS) {
            all = all.and(self.list(site, operation, Some((key, &ids.join(","))), entry).await?);
        }
        Ok(all)
    }

    /// Reads a list, optionally filtered.
    async fn list<T: DeserializeOwned>(
        &self,
        site: SiteRole,
        operation: ApiOperation,
        filter: Option<(&'static str, &str)>,
        entry: fn(T) -> (String, T),
    ) -> Result<List<T>, Error> {
        let mut list = self.all_pages(site, operation, filter, entry).await?;
        for _ in 1..MAX_READS {
            if list.is_complete() {
                break;
            }
            list = self.all_pages(site, operation, filter, entry).await?;
        }
        Ok(list)
    }

    /// Reads all pages once, by token, or by number if the service gives no token although the list continues.
    async fn all_pages<T: DeserializeOwned>(
        &self,
        site: SiteRole,
        operation: ApiOperation,
        filter: Option<(&'static str, &str)>,
        entry: fn(T) -> (String, T),
    ) -> Result<List<T>, Error> {
        let query = || filter.iter().fold(self.query(site), |query, (key, value)| query.with(key, value));
        let mut pages = Pages::new(operation);
        let mut token: Option<String> = None;
        for number in 1..=MAX_PAGES {
            let query = query().with("MaxResults", PAGE_SIZE).maybe("NextToken", token.as_ref());
            let data = self.send(site, operation, query, false).await?;
            let page = page(operation, &data)?;
            let next = page.next_token.filter(|next| !next.is_empty());
            // With tokens the total means nothing. Without any, it says whether the list is complete.
            let total = page.total_count.filter(|_| number == 1 && next.is_none());
            let continues = pages.add(page.entries, total, entry)?;
            match next {
                None if number == 1 && total.is_some() && continues => break,
                None if number == 1 && total.is_some() => return Ok(pages.counted()),
                None if number == 1 && page.page_number.is_some() => break,
                None => return Ok(pages.by_token()),
                next if next == token => return Err(broken(operation, "the token of the page before")),
                next => token = next,
            }
        }
        if token.is_some() {
            return Err(broken(operation, "more pages than can be"));
        }
        let mut pages = Pages::new(operation);
        for number in 1..=MAX_PAGES {
            let query = query().with("PageNumber", number).with("PageSize", NUMBERED_PAGE_SIZE);
            let data = self.send(site, operation, query, false).await?;
            let page = page(operation, &data)?;
            if !pages.add(page.entries, page.total_count, entry)? {
                return Ok(pages.counted());
            }
        }
        Err(broken(operation, "more pages than can be"))
    }
}

/// Reads one page. Only a list without entries may come without them.
fn page(operation: ApiOperation, data: &Data) -> Result<Page<'_>, Error> {
    let page: Page<'_> = parse(operation, data)?;
    match (page.entries, page.total_count) {
        (Some(_), _) | (None, Some(0)) => Ok(page),
        (None, _) => Err(broken(operation, "a page without its list")),
    }
}

/// The entry that was asked for. Only a complete list proves that it does not exist.
fn one<T>(
    operation: ApiOperation,
    list: List<T>,
    is_it: impl Fn(&T) -> bool,
    what: impl Fn() -> String,
) -> Result<T, Error> {
    let complete = list.is_complete();
    let entries = list.into_entries();
    entries.into_iter().find(is_it).ok_or_else(|| match complete {
        false => incomplete(operation),
        true => {
            let message = format!("there is no {} in this region", what());
            Error { class: Class::NotFound, operation, code: "NoSuchResource".into(), message, request_id: None }
        }
    })
}

/// The ID of the created resource. Without an ID the outcome is ambiguous, since the call has happened.
fn new_id(operation: ApiOperation, key: &str, answer: &Data) -> Result<String, Error> {
    let answer: Value = answer.read().unwrap_or_default();
    let id = answer.get(key).and_then(Value::as_str).filter(|id| !id.is_empty());
    let ambiguous = |error| Error { class: Class::Ambiguous, ..error };
    id.map(Into::into).ok_or_else(|| ambiguous(broken(operation, "no ID of what was made")))
}
