//! Alibaba Cloud's OpenAPI as this operator uses it: one signed client, one typed method an operation.

pub mod sign;
