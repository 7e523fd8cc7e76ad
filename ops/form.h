// Two ways to compute the same thing, chosen by one option.
#pragma once

namespace gradus {

// definition: a few tape ops, exactly as the derivation starts. closed: one node with the derived gradient, exactly as the
// derivation ends: faster, less memory, safe at extremes. Tests prove them equal in f64.
enum class Form { closed, definition };

}  // namespace gradus
