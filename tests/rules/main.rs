//! Tests of the library without a process, a disk or a socket: module structure, prices, payments, the protocol. One
//! binary, since each one links the whole library.

mod documents;
mod floors;
mod ocpp;
mod payment;
mod tariff_oracle;
mod tariff_properties;
mod tariff_worked;
mod wire_protocol;
