//! The cloud on loopback, for the demo and the tests.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use disaster_recovery_operator::simulator::model::ebs::DiskRules;
use disaster_recovery_operator::simulator::model::sts::{MetadataRules, OidcProvider, Role, StsRules};
use disaster_recovery_operator::simulator::model::{PasswordEcho, Rules};
use disaster_recovery_operator::simulator::{AccessKey, Config, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// Simulates the disaster-recovery APIs of Alibaba Cloud on a loopback address, with an admin API under /_simulator
/// that asks for no signature.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The loopback address to listen on; port 0 takes a free one.
    #[arg(long, env = "CLOUD_SIMULATOR_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The id of the access key that requests are signed with.
    #[arg(long, env = "CLOUD_SIMULATOR_ACCESS_KEY_ID", default_value = "simulator-key-id")]
    access_key_id: String,
    /// The secret of that key.
    #[arg(
        long,
        env = "CLOUD_SIMULATOR_ACCESS_KEY_SECRET",
        default_value = "simulator-key-secret",
        hide_env_values = true
    )]
    access_key_secret: String,
    /// How long items stay CREATING or CHANGING, and groups of disks in every status that passes: milliseconds, or a number with ms, s or m.
    #[arg(long, env = "CLOUD_SIMULATOR_DELAY", default_value = "2s", value_parser = milliseconds)]
    delay: i64,
    /// The least time between two single synchronizations of a group of disks, as each planned failover makes one.
    #[arg(long, env = "CLOUD_SIMULATOR_ONE_SHOT_INTERVAL", default_value = "450s", value_parser = milliseconds)]
    one_shot_interval: i64,
    /// The distance of the simulated cloud's clock ahead of the machine's; -30s is behind.
    #[arg(
        long,
        env = "CLOUD_SIMULATOR_CLOCK_OFFSET",
        default_value = "0s",
        allow_hyphen_values = true,
        value_parser = signed_milliseconds
    )]
    clock_offset: i64,
    /// How stored passwords come back.
    #[arg(long, env = "CLOUD_SIMULATOR_PASSWORD_ECHO", value_enum, default_value_t = Echo::Masked)]
    password_echo: Echo,
    /// Takes changes of a plan while its items run, which the cloud's documents leave open.
    #[arg(long, env = "CLOUD_SIMULATOR_UPDATE_WHILE_RUNNING")]
    update_while_running: bool,
    /// The region that requests to the loopback address are meant for.
    #[arg(long, env = "CLOUD_SIMULATOR_REGION", default_value = "cn-hangzhou")]
    region: String,
    /// The ARN of a RAM role that every key and every subject of every --oidc-provider may assume; several with commas between.
    #[arg(long, env = "CLOUD_SIMULATOR_ROLE", value_delimiter = ',', value_parser = role_arn)]
    role: Vec<String>,
    /// The ARN of an OIDC provider of any issuer, for the audience sts.aliyuncs.com; several with commas between.
    #[arg(long, env = "CLOUD_SIMULATOR_OIDC_PROVIDER", value_delimiter = ',')]
    oidc_provider: Vec<String>,
    /// The longest life of the keys that are issued for roles, however long a session was asked for.
    #[arg(long, env = "CLOUD_SIMULATOR_TOKEN_LIFE", value_parser = milliseconds)]
    token_life: Option<i64>,
    /// The name of the role that is attached to the instance, whose keys its metadata give; of the account of the first --role.
    #[arg(long, env = "CLOUD_SIMULATOR_ECS_ROLE")]
    ecs_role: Option<String>,
}

/// The account of a role that is given by name alone.
const ACCOUNT: &str = "1000000000000001";

impl Arguments {
    fn sts(&self) -> StsRules {
        StsRules {
            roles: self.role.iter().map(|arn| Role::open(arn, &self.oidc_provider)).collect(),
            providers: self.oidc_provider.iter().map(|arn| OidcProvider::new(arn)).collect(),
            max_key_lifetime_ms: self.token_life,
        }
    }

    fn metadata(&self) -> MetadataRules {
        let first = self.role.first().and_then(|arn| arn.strip_prefix("acs:ram::")?.split_once(":role/"));
        let account = first.map_or(ACCOUNT, |(account, _)| account);
        MetadataRules { role_arn: self.ecs_role.as_ref().map(|name| format!("acs:ram::{account}:role/{name}")) }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Echo {
    Masked,
    Clear,
    Omitted,
}

fn role_arn(text: &str) -> Result<String, String> {
    match Role::is_arn(text) {
        true => Ok(text.to_owned()),
        false => Err("it must be acs:ram::<account>:role/<name>".to_owned()),
    }
}

fn milliseconds(text: &str) -> Result<i64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..) {
        Some("" | "ms") => 1,
        Some("s") => 1000,
        Some("m") => 60_000,
        Some(_) | None => return Err("the unit must be ms, s or m".to_owned()),
    };
    let number: u32 = digits.parse().map_err(|_| "it must start with a whole number".to_owned())?;
    Ok(i64::from(number) * factor)
}

fn signed_milliseconds(text: &str) -> Result<i64, String> {
    text.strip_prefix('-').map_or_else(|| milliseconds(text), |text| milliseconds(text).map(|ms| -ms))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // The admin API needs no signature: it must not be reachable from other hosts.
    ensure!(arguments.listen.ip().is_loopback(), "--listen must be a loopback address, not {}", arguments.listen);
    let password_echo = match arguments.password_echo {
        Echo::Masked => PasswordEcho::Masked,
        Echo::Clear => PasswordEcho::Clear,
        Echo::Omitted => PasswordEcho::Omitted,
    };
    let simulator = Simulator::new(Config {
        clock_offset_ms: arguments.clock_offset,
        keys: vec![AccessKey::new(&arguments.access_key_id, &arguments.access_key_secret)],
        sts: arguments.sts(),
        metadata: arguments.metadata(),
        default_region: arguments.region,
        rules: Rules {
            delay_ms: arguments.delay,
            update_while_running: arguments.update_while_running,
            password_echo,
            ..Rules::default()
        },
        disk_rules: DiskRules {
            delay_ms: arguments.delay,
            one_shot_interval_ms: arguments.one_shot_interval,
            ..DiskRules::default()
        },
        ..Config::default()
    });
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    std::io::stdout().flush()?;
    let server = axum::serve(listener, simulator.router());
    tokio::select! {
        result = async { server.await } => result.context("the server ended"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
