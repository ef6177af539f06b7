/*
 * pool_fuzz.c - the pools against their model (pool_model.h) under libFuzzer: an input is a string of operations. The system
 * runs through all inputs; each ends with everything freed. SPDX-License-Identifier: MIT
 */
#include "pool_model.h"

int LLVMFuzzerInitialize(int *Count, char ***Arguments);
int LLVMFuzzerTestOneInput(const uint8_t *Data, size_t Length);

int LLVMFuzzerInitialize(int *Count, char ***Arguments)
{
    (void)Count;
    (void)Arguments;
    StartModel(1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *Data, size_t Length)
{
    RunModel(Data, Length);
    return 0;
}
