//! Each rule of the contract, and each shape that random requests may miss.
