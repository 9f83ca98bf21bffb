//! The command line of the operator.

fn main() -> anyhow::Result<()> {
    for (_, yaml) in disaster_recovery_operator::api::manifest::definitions()? {
        print!("---\n{yaml}");
    }
    Ok(())
}
