//! Shows what Sluicegate does: starts it with the policy of `examples/05-all-together` and destinations of its own,
//! sends it that example's records, and tells what became of each.
use std::{
    collections::{BTreeMap, HashMap},
    io::IsTerminal as _,
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

/// Where a row went, and as what it arrived there.
type Arrived = HashMap<u64, (String, Row)>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let example = Example::named(EXAMPLE);
    let sinks: BTreeMap<String, Sink> = example.expected()?.into_keys().map(|name| (name, Sink::start())).collect();
    let config = example.configuration_to(|name| sinks.get(name).map(Sink::endpoint).unwrap_or_default())?;
    let folder = tempfile::tempdir()?;
    let sluicegate = Example::start(&config, folder.path()).await?;

    let input = example.input()?;
    let sender = sluicegate.sender();
    for request in &input {
        sender.send_logs(request).await.context("Sluicegate refused the example's records")?;
    }
    let page = sluicegate.page().await?;
    let ended = sluicegate.stop().await?;
    ensure!(ended.code == Some(0), "Sluicegate ended with {:?}:\n{}", ended.code, ended.log);

    let before = otlp::rows(&input);
    let arrived: Arrived = sinks
        .iter()
        .flat_map(|(name, sink)| otlp::rows(&sink.logs()).into_iter().map(move |row| (name, row)))
        .map(|(name, row)| (row.record.time_unix_nano, (name.clone(), row)))
        .collect();
    let style = Style::new();
    println!("\n{}", style.bold("Sluicegate"),);
    println!("{} records in {} requests came in over OTLP/gRPC ({EXAMPLE})\n", before.len(), input.len());
    show_dropped(&style, &page);
    show_changed(&style, &before, &arrived);
    show_destinations(&style, &sinks);
    check_accounts(&style, &page, before.len(), &sinks)?;
    show_record(&style, &before, &arrived)
}

fn show_dropped(style: &Style, page: &Page) {
    let mut dropped = page.by("filter_dropped_log_records", "reason", "processor");
    dropped.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let sum = dropped.iter().map(|(_, count)| count).sum::<u64>();
    println!("{:>5} {}", sum, style.bold("dropped"));
    for ((reason, processor), count) in dropped {
        println!("{count:>10}  {reason:<40} {}", style.faint(&processor));
    }
    println!();
}

fn show_changed(style: &Style, before: &[Row], arrived: &Arrived) {
    let mut changed = 0;
    let mut fields: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for row in before {
        let Some((_, after)) = arrived.get(&row.record.time_unix_nano) else {
            continue;
        };
        let mut differences: Vec<_> =
            fields::differences(row, after).iter().map(|it| (it.top().to_owned(), it.verb())).collect();
        // A body in which two things changed is one body that changed.
        differences.dedup_by(|one, other| one.0 == other.0);
        changed += usize::from(!differences.is_empty());
        for difference in differences {
            *fields.entry(difference).or_default() += 1;
        }
    }
    println!("{changed:>5} {}", style.bold("changed"));
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((field, verb), count) in fields {
        println!("{count:>10}  {field:<40} {}", style.faint(verb));
    }
    println!();
}

fn show_destinations(style: &Style, sinks: &BTreeMap<String, Sink>) {
    println!("{:>5} {}", out(sinks), style.bold("went on"));
    for (name, sink) in sinks {
        let count = otlp::count(&sink.logs());
        println!("{count:>10}  {name:<12} {}", style.green(&"█".repeat(count)));
    }
    println!();
}

/// Says that no record is missing, once the destinations and the metrics agree on it.
fn check_accounts(style: &Style, page: &Page, came: usize, sinks: &BTreeMap<String, Sink>) -> Result<()> {
    let (accounts, out) = (page.accounts(), out(sinks) as u64);
    ensure!(
        accounts.balance() && accounts.sent == out && accounts.accepted == came as u64,
        "the counts don't agree: {came} sent, {out} arrived, {accounts:?}"
    );
    let sum = format!("{came} in = {out} out + {} dropped", accounts.dropped);
    println!("{}: the destinations and /metrics agree.\n", style.bold(&sum));
    Ok(())
}

fn show_record(style: &Style, before: &[Row], arrived: &Arrived) -> Result<()> {
    let row = before.iter().find(|row| row.record.event_name == SHOWN).context("the example lost its order")?;
    let (to, after) = arrived.get(&row.record.time_unix_nano).context("the order was dropped")?;
    let differences = fields::differences(row, after);
    println!("{} of {}, on its way to {}:\n", style.bold("One record"), SHOWN, style.bold(to));
    let width = differences.iter().map(|it| it.field.len()).max().unwrap_or_default();
    for (field, value) in fields::fields(row) {
        match differences.iter().find(|it| it.field == field) {
            Some(difference) => show_difference(style, width, difference),
            None => println!("    {field:<width$}  {}", style.faint(&value)),
        }
    }
    for difference in differences.iter().filter(|it| it.before.is_none()) {
        show_difference(style, width, difference);
    }
    Ok(())
}

fn show_difference(style: &Style, width: usize, Difference { field, before, after }: &Difference) {
    if let Some(before) = before {
        println!("  {} {field:<width$}  {}", style.red("-"), style.red(before));
    }
    if let Some(after) = after {
        println!("  {} {field:<width$}  {}", style.green("+"), style.green(after));
    }
}

fn out(sinks: &BTreeMap<String, Sink>) -> usize {
    sinks.values().map(|sink| otlp::count(&sink.logs())).sum()
}

/// Colours, where somebody looks who wants them.
struct Style(bool);

impl Style {
    fn new() -> Self {
        Self(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
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
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
