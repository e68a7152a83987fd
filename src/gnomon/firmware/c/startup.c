/* What runs before the firmware on a Cortex-M: vectors, memory, floating-point unit. */
#include <stdint.h>

#include "port.h"
#include "protocol.h"

extern const gnomon_model gnomon_the_model;
extern uint32_t memory_top, data_load, data_start, data_end, bss_start, bss_end;

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88u)

static void reset(void) {
#ifdef __ARM_FP
  COPROCESSOR_ACCESS |= 0xFu << 20;
  __asm volatile("dsb\n isb");
#endif
  const uint32_t *from = &data_load;
  for (uint32_t *to = &data_start; to < &data_end;) *to++ = *from++;
  for (uint32_t *to = &bss_start; to < &bss_end;) *to++ = 0;
  gnomon_serve(&gnomon_the_model);
}

static void fault(void) {
  static const char text[] = "e-[The processor met a fault and stopped]\r\n";
  port_write(text, sizeof text - 1);
  for (;;) __asm volatile("wfi");
}

__attribute__((section(".vectors"), used)) const struct {
  uint32_t *stack;
  void (*handlers[15])(void);
} gnomon_vectors = {&memory_top, {reset, fault, fault, fault, fault, fault}};
