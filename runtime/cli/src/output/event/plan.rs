//! The lines that say what became of a plan.

use wrt::HandlerName;
use wrt::events::{PlanChange, PlanOutcome, PlanReport};

use crate::diagnostics::Report;
use crate::output::style::{Style, escape};

/// The lines for a plan whose `cause` is given.
pub(super) fn render(cause: &str, report: &PlanReport, style: Style) -> String {
    let PlanReport { outcome, changes, error, hints, .. } = report;
    match outcome {
        PlanOutcome::Refused => {
            let report = Report {
                message: format!("refused the plan{cause}"),
                causes: error.iter().cloned().collect(),
                notes: vec!["nothing has changed: every handler goes on as it was".to_owned()],
                hints: hints.clone(),
            };
            report.render(style)
        }
        PlanOutcome::Unchanged => format!("the plan changes nothing{cause}\n"),
        _ => {
            let changes: Vec<_> = changes.iter().map(|(name, it)| words(name, it)).collect();
            format!("applied the plan{cause}: {}\n", changes.join(", "))
        }
    }
}

fn words(name: &HandlerName, change: &PlanChange) -> String {
    match change {
        PlanChange::Added => format!("`{name}` added"),
        PlanChange::Removed => format!("`{name}` removed"),
        PlanChange::Superseded => format!("`{name}` left to a newer request"),
        PlanChange::Changed { keys, .. } if keys.is_empty() => format!("`{name}` swapped"),
        PlanChange::Changed { keys, .. } => {
            format!("`{name}` changed ({})", escape(&keys.join(", ")))
        }
        // Why is told by the handler's own event.
        PlanChange::Refused { .. } => format!("`{name}` refused"),
        _ => format!("`{name}` changed"),
    }
}
