//! Shows what Sluicegate does: starts it with the policy of `examples/05-all-together` and destinations of its own,
//! sends it that example's records, and tells what became of each.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    env,
    io::{IsTerminal as _, stdout},
};

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::{
    example::Example,
    fields::{self, Difference},
    metrics::Page,
    otlp::{self, Row},
    sink::Sink,
};

const EXAMPLE: &str = "05-all-together";

/// The event of the record that is shown before and after.
const SHOWN: &str = "order.placed";

/// The columns of the first table: severities as the specification groups their numbers.
const SEVERITIES: [&str; 7] = ["none", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// What was sent and what came of it.
struct Run {
    requests: usize,
    before: Vec<Row>,
    /// What each destination took.
    destinations: BTreeMap<String, Vec<Row>>,
    page: Page,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let run = Run::execute().await?;
    let style = Style::new();
    println!("\n{}", style.bold("Sluicegate: five processors in a row, and a small shop's container logs"));
    println!("{}\n", style.faint(&format!("examples/{EXAMPLE}, {} requests over OTLP/gRPC", run.requests)));
    run.show_ways(&style);
    run.show_dropped(&style);
    run.show_changed(&style);
    run.show_record(&style)?;
    run.check_accounts(&style)
}

impl Run {
    /// Runs Sluicegate for as long as it takes to send it everything.
    async fn execute() -> Result<Self> {
        let example = Example::named(EXAMPLE);
        let sinks: BTreeMap<_, _> = example.expected()?.into_keys().map(|name| (name, Sink::start())).collect();
        let config = example.configuration_to(|name| sinks.get(name).map(Sink::endpoint).unwrap_or_default())?;
        let folder = tempfile::tempdir()?;
        let sluicegate = Example::start(&config, folder.path()).await?;
        let input = example.input()?;
        let sender = sluicegate.sender();
        for request in &input {
            sender.send_logs(request).await.context("Sluicegate refused a request")?;
        }
        let page = sluicegate.page().await?;
        let ended = sluicegate.stop().await?;
        ensure!(ended.code == Some(0), "Sluicegate ended with {:?}:\n{}", ended.code, ended.log);
        Ok(Self {
            requests: input.len(),
            before: otlp::rows(&input),
            destinations: sinks.iter().map(|(name, sink)| (name.clone(), otlp::rows(&sink.logs()))).collect(),
            page,
        })
    }

    /// What arrived, by the time in the record, which is a different one for each.
    fn arrived(&self) -> HashMap<u64, (&str, &Row)> {
        let rows = self.destinations.iter().flat_map(|(name, rows)| rows.iter().map(move |row| (name.as_str(), row)));
        rows.map(|(name, row)| (row.record.time_unix_nano, (name, row))).collect()
    }

    /// Which records went which way, by severity.
    fn show_ways(&self, style: &Style) {
        let arrived = self.arrived();
        let heads: String = SEVERITIES.iter().map(|name| format!("{name:>7}")).collect();
        println!("{}", style.faint(&format!("{:14}{:>7}{heads}", "", "records")));
        let line = |name: &str, rows: &[&Row]| {
            let mut counts = [0; SEVERITIES.len()];
            for row in rows {
                let group = usize::try_from((row.record.severity_number + 3) / 4).unwrap_or_default();
                counts[group.min(SEVERITIES.len() - 1)] += 1;
            }
            let cell = |&count: &u32| if count == 0 { format!("{:>7}", "·") } else { format!("{count:>7}") };
            let cells: String = counts.iter().map(cell).collect();
            println!("{name:14}{}{cells}", style.bold(&format!("{:>7}", rows.len())));
        };
        line("came in", &self.before.iter().collect::<Vec<_>>());
        let dropped = self.before.iter().filter(|row| !arrived.contains_key(&row.record.time_unix_nano));
        line("  dropped", &dropped.collect::<Vec<_>>());
        for (name, rows) in &self.destinations {
            line(&format!("  → {name}"), &rows.iter().collect::<Vec<_>>());
        }
        println!();
    }

    fn show_dropped(&self, style: &Style) {
        println!("{}", style.bold("dropped, and why"));
        let mut dropped = self.page.by("filter_dropped_log_records", "reason", "processor");
        dropped.sort_by_key(|(_, count)| Reverse(*count));
        for ((reason, processor), count) in dropped {
            println!("{count:>7}  {reason:<42}{}", style.faint(&processor));
        }
        println!();
    }

    fn show_changed(&self, style: &Style) {
        let arrived = self.arrived();
        let mut changed = 0;
        let mut fields: BTreeMap<(String, &str), usize> = BTreeMap::new();
        for row in &self.before {
            let Some((_, after)) = arrived.get(&row.record.time_unix_nano) else { continue };
            let differences = fields::differences(row, after);
            changed += usize::from(!differences.is_empty());
            let mut differences: Vec<_> = differences.iter().map(|it| (it.top().to_owned(), it.verb())).collect();
            // A body in which two things changed is one body that changed.
            differences.dedup_by(|one, other| one.0 == other.0);
            for (field, verb) in differences {
                let verb = if field == "body" { "changed" } else { verb };
                *fields.entry((field, verb)).or_default() += 1;
            }
        }
        println!("{}", style.bold(&format!("changed, and how: {changed} of those that went on")));
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_by_key(|(_, count)| Reverse(*count));
        for ((field, verb), count) in fields {
            println!("{count:>7}  {field:<42}{}", style.faint(verb));
        }
        println!();
    }

    /// One record before and after. What stayed the same is left out where it is of the resource.
    fn show_record(&self, style: &Style) -> Result<()> {
        let before =
            self.before.iter().find(|row| row.record.event_name == SHOWN).context("the example lost a record")?;
        let (to, after) = *self.arrived().get(&before.record.time_unix_nano).context("the record was dropped")?;
        let differences = fields::differences(before, after);
        let (mut lines, mut same) = (Vec::new(), 0);
        for (field, value) in fields::fields(before) {
            match differences.iter().find(|it| it.field == field) {
                Some(difference) => lines.push(difference.clone()),
                None if field.starts_with("resource") && field != "resource service.name" => same += 1,
                None => lines.push(Difference { field, before: Some(value.clone()), after: Some(value) }),
            }
        }
        lines.extend(differences.into_iter().filter(|it| it.before.is_none()));
        let width = lines.iter().map(|line| line.field.len()).max().unwrap_or_default();
        println!("{}", style.bold(&format!("one record, before and after: {SHOWN} → {to}")));
        for Difference { field, before, after } in &lines {
            if before == after {
                println!("    {field:<width$}  {}", style.faint(before.as_deref().unwrap_or_default()));
                continue;
            }
            if let Some(before) = before {
                println!("{}", style.red(&format!("  - {field:<width$}  {before}")));
            }
            if let Some(after) = after {
                println!("{}", style.green(&format!("  + {field:<width$}  {after}")));
            }
        }
        println!("{}\n", style.faint(&format!("    and {same} more fields of the resource, as they were")));
        Ok(())
    }

    /// Says that no record is missing, once what was sent, what arrived and the metrics agree on it.
    fn check_accounts(&self, style: &Style) -> Result<()> {
        let came = self.before.len();
        let out: usize = self.destinations.values().map(Vec::len).sum();
        let accounts = self.page.accounts();
        ensure!(
            accounts.balance() && accounts.sent == out as u64 && accounts.accepted == came as u64,
            "the counts don't agree: {came} records were sent and {out} arrived, but the metrics say {accounts:?}"
        );
        let sum = format!("{came} in = {out} out + {} dropped", accounts.dropped);
        println!("{}, by the destinations' count and by /metrics", style.bold(&sum));
        Ok(())
    }
}

/// Colours, where somebody looks who wants them.
struct Style {
    colours: bool,
}

impl Style {
    fn new() -> Self {
        Self { colours: stdout().is_terminal() && env::var_os("NO_COLOR").is_none() }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn faint(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn red(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn green(&self, text: &str) -> String {
        self.paint("32", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
