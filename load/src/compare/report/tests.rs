use super::*;
use crate::{
    compare::{
        machine::Machine,
        results::{Added, Trouble},
    },
    measured::Latency,
};

fn cell<T>(case: Case, rounds: Vec<T>) -> Cell<T> {
    Cell { case, rounds }
}

fn throughput(case: Case, figures: [f64; 3]) -> Cell<Throughput> {
    let round = |(round, records_per_cpu_second)| Throughput {
        round,
        records_per_second: records_per_cpu_second,
        records_per_cpu_second,
        peak_bytes: 20 << 20,
    };
    cell(case, figures.into_iter().enumerate().map(round).collect())
}

fn latency(microseconds: f64) -> Latency {
    Latency {
        count: 1,
        mean_us: microseconds,
        p50_us: microseconds,
        p90_us: microseconds,
        p99_us: microseconds * 2.0,
        p999_us: microseconds * 10.0,
        max_us: microseconds * 10.0,
    }
}

fn results() -> Results {
    let ours = Subject::Sluicegate(Work::PassThrough);
    let [ten, hundred, thousand] = [10, 100, 1_000].map(|batch| Case::new(ours, batch));
    Results {
        command: "cargo xtask compare --write".into(),
        machine: Machine {
            processor: "A Processor".into(),
            cores: 2,
            memory_bytes: 8 << 30,
            kernel: "Linux 6.1".into(),
        },
        versions: [(ours, "sluicegate 0.1.0".to_owned()), (Subject::Nginx, "nginx/1.22".to_owned())].into(),
        missing: vec![Subject::Rotel],
        rounds: 3,
        seconds: 2.0,
        throughput: vec![
            throughput(ten, [1.4e6, 1.5e6, 1.3e6]),
            throughput(Case::new(Subject::Nginx, 10), [1.0e6; 3]),
            throughput(hundred, [2.0e6, 2.2e6, 1.8e6]),
            throughput(thousand, [2.0e6, 2.2e6, 1.8e6]),
            throughput(thousand.on_one_core(), [2.1e6, 2.2e6, 2.0e6]),
        ],
        latency: vec![cell(hundred, vec![Added { rate: 100.0, through: latency(400.0), direct: latency(100.0) }])],
        overload: vec![cell(thousand, vec![Overload { peak_bytes: 120 << 20, acknowledged: 0.5, delivered: 0.02 }])],
        troubles: vec![Trouble { case: Case::new(Subject::Nginx, 100), what: "7 requests: UNAVAILABLE".into() }],
    }
}

#[test]
fn everything_as_markdown() {
    insta::assert_snapshot!(markdown(&results()));
}

#[test]
fn everything_aligned() {
    let tables: Vec<_> = tables(&results()).iter().map(Table::aligned).collect();
    insta::assert_snapshot!(tables.join("\n"));
}

#[test]
fn results_are_read_as_they_were_written() {
    let text = serde_json::to_string(&results()).expect("it can be written");
    let read: Results = serde_json::from_str(&text).expect("it can be read");
    assert_eq!(markdown(&read), markdown(&results()));
}

#[test]
fn only_what_stands_between_the_comments_is_replaced() {
    let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
    let replaced = replace(&document, "new\n\n").expect("it has both comments");
    assert_eq!(replaced, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
    assert_eq!(replace(&replaced, "new").as_deref(), Some(&*replaced));
    assert_eq!(replace("nothing", "new"), None);
}
