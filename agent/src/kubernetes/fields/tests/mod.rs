//! Sets, values and projections, on what real servers answered.

mod algebra;
mod objects;
