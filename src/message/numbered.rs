//! Enums whose numbers are sent over the connection.

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// Every value of this version.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The value with this number on the wire.
            pub const fn from_number(number: i32) -> Option<$name> {
                match number {
                    $($number => Some($name::$variant),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> i32 {
                self as i32
            }
        }
    };
}
pub(super) use numbered;
