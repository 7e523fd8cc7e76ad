// Every file of losses: its header, and its line in the table. <gradus.h> brings them all.
#pragma once
#include "losses/loss.h"
#include "losses/softmax/cross_entropy.h"

namespace gradus {

inline constexpr Losses (*loss_files[])() = {
    cross_entropy_losses,
};

}  // namespace gradus
