//! The rules from outside, without a process, a disk or a socket: the order of the house, prices, payments, the protocol.
//! One binary, since each one links the whole library.

mod documents;
mod floors;
mod payment;
mod tariff_oracle;
mod tariff_properties;
mod tariff_worked;
mod wire_protocol;
