//! The two instances of a plan.

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::plan_type::PlanType;
use super::rules::{PasswordEcho, Rules};
use super::text::given;

/// The type of an instance in Alibaba Cloud.
pub(super) const ALIYUN: &str = "ALIYUN_ROCKETMQ";
/// The type of a self-managed cluster.
pub(super) const EXTERNAL: &str = "EXTERNAL_ROCKETMQ";

/// An instance in requests and answers, with the names of the API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// `ALIYUN_ROCKETMQ` or `EXTERNAL_ROCKETMQ`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The instance's region; required for ALIYUN (inferred).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// Required for ALIYUN, generated for EXTERNAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `ACTIVE` or `PASSIVE`, in any case: the documentation has `Passive` too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_role: Option<String>,
    /// `NO_AUTH` or `ACL_AUTH`; optional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<String>,
    /// Required with `ACL_AUTH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Required with `ACL_AUTH` for EXTERNAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Required for EXTERNAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// `TCP_INTERNET` or `TCP_VPC`; required for EXTERNAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_type: Option<String>,
    /// Required for EXTERNAL with `TCP_VPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// Several are joined by `|`; required for EXTERNAL with `TCP_VPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v_switch_id: Option<String>,
    /// Required for EXTERNAL with `TCP_VPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_group_id: Option<String>,
    /// Required for EXTERNAL, generated for ALIYUN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group_id: Option<String>,
    /// A property that the cloud adds to replicated messages, so that consumers can tell them from local ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_property: Option<MessageProperty>,
}

/// A property of replicated messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageProperty {
    /// The property's name.
    pub property_key: String,
    /// The property's value.
    pub property_value: String,
}

impl Instance {
    /// Whether it is an instance in Alibaba Cloud.
    pub fn is_aliyun(&self) -> bool {
        self.instance_type.as_deref() == Some(ALIYUN)
    }

    /// Its id; every instance of a stored plan has one.
    pub fn id(&self) -> &str {
        self.instance_id.as_deref().unwrap_or_default()
    }

    /// Whether it is the source of a one-way plan.
    pub fn is_active(&self) -> bool {
        self.instance_role.as_deref() == Some("ACTIVE")
    }

    /// The instance as Get and List return it.
    pub(super) fn echo(&self, echo: PasswordEcho) -> Instance {
        let password = match echo {
            PasswordEcho::Masked => self.password.as_ref().map(|_| "******".to_owned()),
            PasswordEcho::Clear => self.password.clone(),
            PasswordEcho::Omitted => None,
        };
        Instance { password, ..self.clone() }
    }

    /// Checks one instance on its own and normalizes its role.
    fn checked(mut self, plan_type: PlanType, rules: &Rules) -> Result<Instance, Failure> {
        require("instanceType", self.instance_type.as_ref())?;
        allow("instanceType", self.instance_type.as_deref(), &[ALIYUN, EXTERNAL])?;
        if let Some(role) = &mut self.instance_role {
            *role = role.to_ascii_uppercase();
        }
        allow("instanceRole", self.instance_role.as_deref(), &["ACTIVE", "PASSIVE"])?;
        if plan_type == PlanType::ActivePassive {
            require("instanceRole", self.instance_role.as_ref())?;
        }
        allow("authType", self.auth_type.as_deref(), &["NO_AUTH", "ACL_AUTH"])?;
        let acl = self.auth_type.as_deref() == Some("ACL_AUTH");
        if acl {
            require("username", self.username.as_ref())?;
        }
        if let Some(property) = &self.message_property {
            require("propertyKey", Some(&property.property_key))?;
            require("propertyValue", Some(&property.property_value))?;
        }
        if self.is_aliyun() {
            require("instanceId", self.instance_id.as_ref())?;
            require("regionId", self.region_id.as_ref())?;
            let known = rules.instances.as_ref().is_none_or(|known| known.contains(self.id()));
            return if known { Ok(self) } else { Err(Failure::instance_not_found()) };
        }
        if acl {
            require("password", self.password.as_ref())?;
        }
        require("endpointUrl", self.endpoint_url.as_ref())?;
        require("consumerGroupId", self.consumer_group_id.as_ref())?;
        require("networkType", self.network_type.as_ref())?;
        allow("networkType", self.network_type.as_deref(), &["TCP_INTERNET", "TCP_VPC"])?;
        if self.network_type.as_deref() == Some("TCP_VPC") {
            require("vpcId", self.vpc_id.as_ref())?;
            require("vSwitchId", self.v_switch_id.as_ref())?;
            require("securityGroupId", self.security_group_id.as_ref())?;
        }
        Ok(self)
    }

    /// The first immutable field that differs in `new`.
    fn immutable_difference(&self, new: &Instance) -> Option<&'static str> {
        let fields = [
            ("instanceType", &self.instance_type, &new.instance_type),
            ("instanceId", &self.instance_id, &new.instance_id),
            ("instanceRole", &self.instance_role, &new.instance_role),
            ("regionId", &self.region_id, &new.region_id),
            ("endpointUrl", &self.endpoint_url, &new.endpoint_url),
            ("networkType", &self.network_type, &new.network_type),
            ("vpcId", &self.vpc_id, &new.vpc_id),
            ("vSwitchId", &self.v_switch_id, &new.v_switch_id),
            ("securityGroupId", &self.security_group_id, &new.security_group_id),
            ("consumerGroupId", &self.consumer_group_id, &new.consumer_group_id),
        ];
        let different = fields.into_iter().find(|(_, old, new)| given(old.as_ref()) != given(new.as_ref()));
        different.map(|(name, _, _)| name)
    }
}

/// Checks the instances of a new plan and adds the generated fields.
pub(super) fn create(
    instances: Vec<Instance>,
    plan_type: PlanType,
    plan_id: i64,
    rules: &Rules,
) -> Result<Vec<Instance>, Failure> {
    let mut checked = Vec::new();
    for (index, instance) in instances.into_iter().enumerate() {
        let mut instance = instance.checked(plan_type, rules)?;
        let side = index + 1;
        if instance.is_aliyun() {
            instance.consumer_group_id = Some(format!("GID_DR_{plan_id}_{side}"));
        } else {
            instance.instance_id = Some(format!("rmq-external-{plan_id}-{side}"));
        }
        checked.push(instance);
    }
    check_together(&checked, plan_type)?;
    Ok(checked)
}

/// The instances of a plan after UpdatePlan: the new list replaces the stored one (inferred; a merge is as possible).
/// It must name the same two instances, and only fields that the documentation calls changeable may differ. An absent
/// password stays, as no answer contains it in clear.
pub(super) fn update(
    old: &[Instance],
    new: Vec<Instance>,
    plan_type: PlanType,
    rules: &Rules,
) -> Result<Vec<Instance>, Failure> {
    let mut updated = Vec::new();
    for (index, mut instance) in new.into_iter().enumerate() {
        let stored = match given(instance.instance_id.as_ref()) {
            Some(id) => old.iter().find(|stored| stored.id() == id),
            // A self-managed cluster has a generated id: its place in the list identifies it.
            None => old.get(index).filter(|stored| !stored.is_aliyun()),
        };
        if stored.is_none() && instance.is_aliyun() {
            require("instanceId", instance.instance_id.as_ref())?;
        }
        let stored = stored.ok_or_else(|| Failure::immutable("instances"))?;
        instance.instance_id.clone_from(&stored.instance_id);
        if given(instance.password.as_ref()).is_none() {
            instance.password.clone_from(&stored.password);
        }
        if given(instance.consumer_group_id.as_ref()).is_none() {
            instance.consumer_group_id.clone_from(&stored.consumer_group_id);
        }
        let instance = instance.checked(plan_type, rules)?;
        if let Some(field) = stored.immutable_difference(&instance) {
            return Err(Failure::immutable(field));
        }
        updated.push(instance);
    }
    check_together(&updated, plan_type)?;
    Ok(updated)
}

/// Checks the instances together: exactly two (no maximum is documented; the console knows a source and a destination),
/// different ones, exactly one active in a one-way plan.
fn check_together(instances: &[Instance], plan_type: PlanType) -> Result<(), Failure> {
    let [first, second] = instances else {
        return Err(Failure::invalid("instances", "there must be exactly two"));
    };
    if first.id() == second.id() {
        return Err(Failure::invalid("instances", "the two must differ"));
    }
    if plan_type == PlanType::ActivePassive && first.is_active() == second.is_active() {
        return Err(Failure::invalid("instanceRole", "exactly one instance must be ACTIVE"));
    }
    Ok(())
}

fn require(name: &str, value: Option<&String>) -> Result<(), Failure> {
    given(value).map(|_| ()).ok_or_else(|| Failure::missing(name))
}

/// Refuses a value that is not in `allowed`.
pub(super) fn allow(name: &str, value: Option<&str>, allowed: &[&str]) -> Result<(), Failure> {
    match value {
        Some(value) if !allowed.contains(&value) => {
            Err(Failure::invalid(name, &format!("it must be one of {}", allowed.join(", "))))
        }
        Some(_) | None => Ok(()),
    }
}
