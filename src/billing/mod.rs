//! CDR, receipt and invoice series.
