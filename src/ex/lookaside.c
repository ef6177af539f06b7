#include "ex/exp.h"
PVOID ExpForeignAllocate, ExpForeignFree, ExpForeignAllocateEx, ExpForeignFreeEx;
VOID ExpInitLookaside(VOID)
{
}
