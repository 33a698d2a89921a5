//! What a filter decides, record by record and for a batch.
use crate::bytes::are_equal;
use crate::raw;
use std::borrow::Cow;

/// What a filter decides for a record.
///
/// Reasons and routes are constants as a rule, and then cost no allocation. One that comes from the settings
/// can be leaked once, in [`Filter::new`](crate::Filter::new), since the filter lives as long as its component:
/// `let route: &'static str = settings.route.leak();`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The record goes on.
    Keep,
    /// The record goes no further. The reason is counted in Sluicegate's metrics, so there should be few of
    /// them: none that carries a user's name or a record's text.
    Drop(Cow<'static, str>),
    /// The record goes on, towards this route. The filter must name it in
    /// [`Filter::routes`](crate::Filter::routes).
    Route(Cow<'static, str>),
}

impl Verdict {
    /// Drops the record for this reason.
    pub fn drop(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Drop(reason.into())
    }

    /// Sends the record towards this route.
    pub fn route(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Route(name.into())
    }
}

impl Verdict {
    /// Whether both are the same, which is quickly told of two that have one constant.
    #[inline]
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Drop(a), Self::Drop(b)) | (Self::Route(a), Self::Route(b)) => {
                std::ptr::eq::<str>(&**a, &**b) || are_equal(a.as_bytes(), b.as_bytes())
            }
            _ => self == other,
        }
    }
}

/// The most routes that a filter may declare. Rows point to verdicts with one byte, which also has to hold the
/// verdict to keep, one drop, and the drop that stands for all reasons too many.
pub(crate) const MOST_ROUTES: usize = 253;

/// The reason of drops beyond the number of distinct verdicts that an answer can hold.
const OTHER_REASONS: &str = "other reasons";

/// The verdicts of a batch, gathered row by row.
#[derive(Debug)]
pub(crate) struct Verdicts<'a> {
    routes: &'a [String],
    /// How many rows the batch has.
    len: usize,
    /// As in the outcome: empty while every row is kept.
    rows: Vec<u8>,
    /// The distinct verdicts. The first is to keep, and there is none while every row is kept.
    table: Vec<Verdict>,
    /// How many drops are in the table.
    drops: usize,
    /// Where the last verdict that was no keep stands: the next is most likely the same.
    last: usize,
}

impl<'a> Verdicts<'a> {
    pub(crate) fn new(len: usize, routes: &'a [String]) -> Self {
        Self { routes, len, rows: Vec::new(), table: Vec::new(), drops: 0, last: 0 }
    }

    /// How many rows the batch has.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Notes the verdict of `row`, which is the next.
    ///
    /// # Errors
    /// For a route that was not declared.
    #[inline]
    pub(crate) fn push(&mut self, row: usize, verdict: Verdict) -> Result<(), String> {
        if verdict != Verdict::Keep {
            return self.note(row, verdict);
        }
        if !self.rows.is_empty() {
            self.rows.push(0);
        }
        Ok(())
    }

    /// Apart from the rest, which is small enough to become part of the loop over the rows.
    #[inline(never)]
    fn note(&mut self, row: usize, verdict: Verdict) -> Result<(), String> {
        let index = match self.table.get(self.last) {
            Some(last) if last.is(&verdict) => self.last as u8,
            _ => self.find(row, verdict)?,
        };
        self.rows.push(index);
        Ok(())
    }

    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<raw::Verdict>) {
        if self.rows.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let verdicts = self.table.into_iter().map(|verdict| match verdict {
            Verdict::Keep => raw::Verdict::Keep,
            Verdict::Drop(reason) => raw::Verdict::Drop(reason.into_owned()),
            Verdict::Route(name) => raw::Verdict::Route(name.into_owned()),
        });
        (self.rows, verdicts.collect())
    }

    /// Where a verdict stands that is another than the last one. The first of all makes room for every row's.
    #[inline(never)]
    fn find(&mut self, row: usize, mut verdict: Verdict) -> Result<u8, String> {
        if self.table.is_empty() {
            self.table.push(Verdict::Keep);
            self.rows.reserve_exact(self.len);
            self.rows.resize(row, 0);
        }
        let mut found = self.table.iter().position(|known| known.is(&verdict));
        if found.is_none() {
            match &verdict {
                Verdict::Route(name) if !self.routes.iter().any(|route| route == name) => {
                    return Err(format!("the filter routed a record to `{name}`, which is none of its routes"));
                }
                Verdict::Drop(_) if self.drops + self.routes.len() + 2 > usize::from(u8::MAX) => {
                    verdict = Verdict::drop(OTHER_REASONS);
                    found = self.table.iter().position(|known| *known == verdict);
                }
                _ => {}
            }
        }
        self.last = found.unwrap_or(self.table.len());
        if found.is_none() {
            self.drops += usize::from(matches!(verdict, Verdict::Drop(_)));
            self.table.push(verdict);
        }
        Ok(self.last as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gathers verdicts and gives them back row by row.
    fn gather(routes: &[&str], given: &[Verdict]) -> Result<Vec<raw::Verdict>, String> {
        let routes: Vec<_> = routes.iter().map(|&route| route.to_owned()).collect();
        let mut verdicts = Verdicts::new(given.len(), &routes);
        given.iter().enumerate().try_for_each(|(row, verdict)| verdicts.push(row, verdict.clone()))?;
        let (rows, table) = verdicts.into_parts();
        assert!(table.len() <= 256, "{}", table.len());
        Ok(rows.into_iter().map(|row| table[usize::from(row)].clone()).collect())
    }

    #[test]
    fn nothing_is_said_of_rows_that_are_all_kept() {
        assert_eq!(gather(&[], &[Verdict::Keep, Verdict::Keep]), Ok(Vec::new()));
    }

    #[test]
    fn each_row_gets_its_own() {
        let given =
            [Verdict::Keep, Verdict::drop("a"), Verdict::Keep, Verdict::route("r"), Verdict::drop("a".to_owned())];
        let expected = [
            raw::Verdict::Keep,
            raw::Verdict::Drop("a".to_owned()),
            raw::Verdict::Keep,
            raw::Verdict::Route("r".to_owned()),
            raw::Verdict::Drop("a".to_owned()),
        ];
        assert_eq!(gather(&["r"], &given), Ok(expected.into()));
    }

    #[test]
    fn an_undeclared_route_is_an_error() {
        let error = gather(&["r"], &[Verdict::route("x")]).expect_err("undeclared");
        assert_eq!(error, "the filter routed a record to `x`, which is none of its routes");
    }

    #[test]
    fn reasons_too_many_become_one_and_routes_never_do() {
        let routes: Vec<_> = (0..MOST_ROUTES).map(|number| format!("route {number}")).collect();
        let routes: Vec<_> = routes.iter().map(String::as_str).collect();
        for declared in [0, 10, MOST_ROUTES] {
            let reasons = (0..1_000).map(|number| Verdict::drop(format!("reason {number}")));
            let given: Vec<_> =
                reasons.chain(routes[..declared].iter().map(|route| Verdict::route(route.to_string()))).collect();
            let gathered = gather(&routes[..declared], &given).expect("declared routes");
            let own = 254 - declared;
            assert_eq!(gathered[own - 1], raw::Verdict::Drop(format!("reason {}", own - 1)));
            assert!(
                gathered[own..1_000].iter().all(|verdict| *verdict == raw::Verdict::Drop(OTHER_REASONS.to_owned()))
            );
            assert_eq!(gathered[1_000..].len(), declared);
            assert!(gathered[1_000..].iter().all(|verdict| matches!(verdict, raw::Verdict::Route(_))));
        }
    }
}
