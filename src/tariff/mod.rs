//! OCPI tariffs: reading, checking, rating, explaining.
