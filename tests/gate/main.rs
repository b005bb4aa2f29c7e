//! The program from outside: processes, disks, sockets and the command line. One binary, since each one links the whole
//! library.

mod common;

mod api;
mod attack;
mod bad_files;
mod books_cli;
mod console;
mod console_limits;
mod data_upgrade;
mod demo_kill;
mod end_to_end;
mod events;
mod faults;
mod journal_cli;
mod journal_damage;
mod journal_growth;
mod journal_power_loss;
mod kill;
mod lists;
mod living_books;
mod log;
mod mistakes;
mod money;
mod ocpp;
mod ocpp_python;
mod packaging;
mod readme;
mod receipt_cli;
mod replay;
mod silent_shard;
mod site_bound;
mod tariff_cli;
mod terminal;
mod tokens;
mod wire_python;
