"""The README's ten lines: a frozen ImageNet network learns to read digits. About two minutes on two cores."""

import reprogram

host = reprogram.load_host("efficientnet-lite0")  # a frozen ImageNet classifier, from its pip wheel
task = reprogram.load_task("digits")  # scikit-learn's handwritten digits, 8×8
model = reprogram.Reprogrammed.build(host, task)  # LabelMap(Host(Program(Canvas(x))))
result = reprogram.fit(model, task, seconds=60)  # only the program learns
print("validation", result.validation)
print("test", reprogram.evaluate(model, task))
model.save("digits.safetensors")

again = reprogram.load("digits.safetensors")  # checks the file, builds the host that it names
assert (again(task.test.images[:8]) == model(task.test.images[:8])).all()
