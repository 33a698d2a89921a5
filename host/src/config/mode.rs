//! `mode`, `share` and `shadow`: whether a filter decides, and over how many records.

use super::diagnostic::Diagnostic;
use super::read::{Fields, Keys, Reader};
use super::{MIB, Mode, Shadow};

const SHADOW: Keys =
    Keys { of: "`shadow`", known: &["queue_mib", "samples_per_minute", "sample_bodies"], foreign: &[] };

const MODES: &[(&str, bool)] = &[("enforce", false), ("shadow", true)];

/// More would be a queue for a filter that is too slow to ever catch up.
const LARGEST_QUEUE_MIB: u32 = 4096;

/// Ten a second are more than anybody reads.
const MOST_SAMPLES: u32 = 600;

impl Reader {
    /// The mode. Keys of the other mode are checked, and give a warning: they may be there for the day on which `mode`
    /// changes.
    pub(super) fn mode(&mut self, wasm: &Fields<'_>) -> Option<Mode> {
        let is_shadow = self.field(wasm, "mode", false, |r, node| r.choice(node, MODES));
        let share = self.field(wasm, "share", 1.0, Self::percentage);
        let shadow = self.shadow(wasm);
        let is_shadow = is_shadow?;
        let (key, message, help) = if is_shadow {
            (
                "share",
                "`share` changes nothing here: a shadow is shown all records",
                "remove it, or write `mode: enforce`",
            )
        } else {
            ("shadow", "`shadow` changes nothing here", "remove it, or write `mode: shadow`")
        };
        if wasm.get(key).is_some() {
            self.found.push(Diagnostic::warning(&self.source, wasm.span(key), message).help(help));
        }
        Some(if is_shadow { Mode::Shadow(shadow?) } else { Mode::Enforce { share: share? } })
    }

    fn shadow(&mut self, wasm: &Fields<'_>) -> Option<Shadow> {
        let default = Shadow::default();
        let shadow = self.section(wasm, "shadow", &SHADOW)?;
        let why = "where nothing may wait nothing is shown, and more than 4 GiB would only wait for longer";
        let queue = self.field(&shadow, "queue_mib", (default.queue / MIB) as u32, |r, node| {
            r.integer(node, 1..=LARGEST_QUEUE_MIB, why)
        });
        let why = "0 describes none; more than ten a second nobody reads";
        let samples = self.field(&shadow, "samples_per_minute", default.samples_per_minute, |r, node| {
            r.integer(node, 0..=MOST_SAMPLES, why)
        });
        let bodies = self.field(&shadow, "sample_bodies", default.sample_bodies, Self::boolean);
        Some(Shadow { queue: queue? as usize * MIB, samples_per_minute: samples?, sample_bodies: bodies? })
    }
}
