//! Referring expression segmentation point by point, from boxes for all and masks for few.

pub mod checkpoint;
pub mod config;
pub mod convert;
pub mod data;
pub mod device;
pub mod eval;
pub mod formats;
pub mod hub;
pub mod mask;
pub mod model;
pub mod nn;
pub mod pseudo;
pub mod random;
pub mod report;
pub mod shapes;
pub mod text;
pub mod train;
