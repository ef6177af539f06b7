/*
 * seh.h - structured exception handling for source drivers.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_SEH_
#define _NTMM_SEH_

#define EXCEPTION_EXECUTE_HANDLER    1
#define EXCEPTION_CONTINUE_SEARCH    0
#define EXCEPTION_CONTINUE_EXECUTION (-1)

#endif
