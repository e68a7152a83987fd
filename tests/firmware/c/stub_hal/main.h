/* As much of an STM32 project's main.h, and of the library behind it, as port_example.c needs to compile. */
#ifndef MAIN_H
#define MAIN_H

#include <stdint.h>

typedef struct {
  uint32_t BaudRate;
} UART_InitTypeDef;
typedef struct {
  UART_InitTypeDef Init;
} UART_HandleTypeDef;
typedef struct {
  volatile uint32_t CNT;
} TIM_TypeDef;
typedef struct {
  TIM_TypeDef *Instance;
} TIM_HandleTypeDef;
typedef struct {
  volatile uint32_t ODR;
} GPIO_TypeDef;
typedef struct {
  volatile uint32_t CTRL, CYCCNT;
} DWT_Type;
typedef struct {
  volatile uint32_t DEMCR;
} CoreDebug_Type;
typedef enum { HAL_OK, HAL_ERROR, HAL_BUSY, HAL_TIMEOUT } HAL_StatusTypeDef;
typedef enum { GPIO_PIN_RESET, GPIO_PIN_SET } GPIO_PinState;

#define HAL_MAX_DELAY UINT32_MAX
#define DWT_CTRL_CYCCNTENA_Msk 1u
#define CoreDebug_DEMCR_TRCENA_Msk (1u << 24)
#define TIMESTAMP_Pin 1u
#define TIMESTAMP_GPIO_Port (&stub_gpio)
#define DWT (&stub_dwt)
#define CoreDebug (&stub_debug)

extern GPIO_TypeDef stub_gpio;
extern DWT_Type stub_dwt;
extern CoreDebug_Type stub_debug;
extern uint32_t SystemCoreClock;

HAL_StatusTypeDef HAL_UART_Init(UART_HandleTypeDef *uart);
HAL_StatusTypeDef HAL_UART_Receive(UART_HandleTypeDef *uart, uint8_t *data, uint16_t size, uint32_t timeout_ms);
HAL_StatusTypeDef HAL_UART_Transmit(UART_HandleTypeDef *uart, const uint8_t *data, uint16_t size, uint32_t timeout_ms);
HAL_StatusTypeDef HAL_TIM_Base_Start(TIM_HandleTypeDef *timer);
void HAL_GPIO_WritePin(GPIO_TypeDef *port, uint16_t pin, GPIO_PinState level);

#endif
