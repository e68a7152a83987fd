/* An MPS2 board without a firmware: text out by semihosting, numbers by xorshift, memory that ends where a fault
 * begins, and QEMU's count of instructions. */
#ifndef BOARD_H
#define BOARD_H

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

/* Where memory ends: the protection unit faults whoever touches the half megabyte behind either. */
#define FIRST_EDGE ((int8_t *)0x20200000)
#define SECOND_EDGE ((int8_t *)0x20300000)

static void forbid(int32_t region, const int8_t *from) {
  volatile uint32_t *unit = (volatile uint32_t *)0xE000ED94u;
  unit[1] = (uint32_t)region;
  unit[2] = (uint32_t)from;
  unit[3] = 1u << 28 | 18u << 1 | 1u; /* nothing to execute, no access, 2^19 bytes, enabled */
  unit[0] = 5;                        /* all else as if there was no protection */
}

#define TIMER_CONTROL (*(volatile uint32_t *)0x40000000u)
#define TIMER_VALUE (*(volatile uint32_t *)0x40000004u)
#define TIMER_RELOAD (*(volatile uint32_t *)0x40000008u)
#define INSTRUCTIONS_PER_TICK 5 /* 25 MHz, with -icount shift=3: 8 ns an instruction */

static inline int32_t semihost(int32_t operation, const void *argument) {
  register int32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void say(const char *text) { semihost(4, text); }

static void say_number(int32_t number) {
  char digits[12], *at = digits + 11;
  uint32_t rest = number < 0 ? -(uint32_t)number : (uint32_t)number;
  *at = 0;
  do *--at = (char)('0' + rest % 10), rest /= 10;
  while (rest);
  if (number < 0) *--at = '-';
  say(at);
}

/* A line: a word and numbers. */
static inline void say_line(const char *word, int count, ...) {
  va_list numbers;
  va_start(numbers, count);
  say(word);
  for (int i = 0; i < count; i++) say(" "), say_number(va_arg(numbers, int32_t));
  say("\n");
  va_end(numbers);
}

static void stop(void) { semihost(0x18, (void *)0x20026); }

static uint32_t state;

static inline uint32_t draw(void) {
  if (state == 0) state = 2463534242u;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

/* low <= number <= high */
static inline int32_t between(int32_t low, int32_t high) {
  return low + (int32_t)(draw() % (uint32_t)(high - low + 1));
}

static inline int32_t one_in(int32_t n) { return draw() % (uint32_t)n == 0; }

static inline void start_timer(void) {
  TIMER_RELOAD = 0xffffffffu;
  TIMER_VALUE = 0xffffffffu;
  TIMER_CONTROL = 1;
}

static inline uint32_t instructions(void) { return (0xffffffffu - TIMER_VALUE) * INSTRUCTIONS_PER_TICK; }

int main(void);
/* In memory that is zero when QEMU starts; there are no initialised variables. */
static uint64_t stack[2048];

static void reset(void) {
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the floating-point unit */
  forbid(0, FIRST_EDGE);
  forbid(1, SECOND_EDGE);
  main();
  stop();
}

static void fault(void) {
  say_line("fault", 2, *(volatile int32_t *)0xE000ED28u, *(volatile int32_t *)0xE000ED38u);
  stop();
}

__attribute__((section(".vectors"), used)) static const struct {
  uint64_t *top;
  void (*handlers[15])(void);
} vectors = {stack + 2048, {reset, fault, fault, fault, fault, fault}};

#endif
