from senet.data.labels import imagenet_classes, imagenet_labels


def test_the_classes_are_in_the_order_of_their_wordnet_ids():
    classes = imagenet_classes()
    assert [row.index for row in classes] == list(range(1000))
    wnids = [row.wnid for row in classes]
    assert wnids == sorted(set(wnids))
    assert (classes[0].wnid, classes[0].name) == ("n01440764", "tench")
    assert (classes[281].name, classes[999].name) == ("tabby", "toilet_tissue")


def test_labels_name_a_thousand_classes_two_of_them_twice():
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert {name for name in labels if labels.count(name) > 1} == {"crane", "maillot"}


def test_the_challenge_counts_every_class_once_in_its_own_order():
    by_place = {row.ilsvrc2012_id: row.name for row in imagenet_classes()}
    assert sorted(by_place) == list(range(1, 1001))
    assert (by_place[1], by_place[449]) == ("kit_fox", "tench")
