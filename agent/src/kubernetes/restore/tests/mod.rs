//! The way back, on what real servers showed and on random objects under a model.

mod co_owners;
mod created;
mod model;
mod random;
mod seen;
