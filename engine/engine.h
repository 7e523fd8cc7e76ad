// All of the engine: tensors, the tape, the backward pass, and the tools to look at them and to check them.
#pragma once
#include "engine/backward.h"
#include "engine/buffer.h"
#include "engine/checkpoint.h"
#include "engine/grad_check.h"
#include "engine/inspect.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/tape.h"
#include "engine/tensor.h"
