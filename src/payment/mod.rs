//! One hold and its operations.

mod operation;

pub use operation::{
    Answer, CallbackId, Capabilities, Credential, CredentialKind, Decline, DeclineClass, Notification,
    NotificationKind, Operation, OperationKind, Outcome, ProcessorRef, Request, VoidReason,
};
